"""`mint-ray answer RUN SOURCE --to FOLDER`: a finished run answers new patients."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mint_ray.storage import location

ANSWERERS = ("aligned", "base", "scorer")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; what cannot be done ends it with a sentence: status 2 of a setting, else 1."""
    options = parser().parse_args(arguments)
    from mint_ray.answer.answering import SCORER, AnsweringRun, answer
    from mint_ray.answer.outputs import write_outputs
    from mint_ray.answer.source import configuration
    from mint_ray.errors import ConfigError
    from mint_ray.job import reported, session, working_in
    from mint_ray.runs import open_run

    try:
        with reported():
            finished = open_run(options.run)
            config = configuration(finished, options.source, options.to, options.reader, options.set, options.endpoint)
            run = AnsweringRun(config, finished, options.by)
    except ConfigError as error:
        print(f"{len(error.problems)} setting(s) to mend\n{error}", file=sys.stderr)
        sys.exit(2)
    with working_in(run):
        with session(run.config, ["cases", "rankings" if options.by == SCORER else "answers"]):
            answer(run)
        found = write_outputs(run)
    print(f"Answered: {found['answered']} of {run.stage('cases').told['rows']['in']} rows, by {options.by}")
    print(f"Read: {run.dir / 'differentials.tsv'}")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="mint-ray answer", description=__doc__)
    found.add_argument("run", type=location, help="the finished run, e.g. runs/demo")
    found.add_argument("source", type=location, help="the new patients: a file or folder that a reader takes")
    found.add_argument("--to", type=location, required=True, help="an empty folder, or one that this was begun in")
    found.add_argument("--by", choices=ANSWERERS, default="aligned", help="who answers")
    found.add_argument("--reader", help="corpus.kind of the source; by default as it looks: table, phenopackets")
    found.add_argument("--endpoint", help="ask models that are being served, e.g. http://127.0.0.1:8001/v1")
    found.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the reader, e.g. notes=false"
    )
    return found


if __name__ == "__main__":
    main()
