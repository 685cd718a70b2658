"""Findings to a request of the served models, in the very words that alignment used; prints it as JSON.

    mint-ray ask runs/demo --findings "Short stature; Hypotonia" --sex female --age 4 |
      curl -s http://127.0.0.1:8001/v1/chat/completions -H 'Content-Type: application/json' -d @-

A finding is a name or an id of the task's vocabulary. What the run's task shows its language model is shown, no more;
what is left out is said on standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from mint_ray.corpora.images import check_image
from mint_ray.errors import CorpusError, MintError
from mint_ray.inference.asking import chat_request
from mint_ray.records import Case, Phenotype, Sex
from mint_ray.runs import open_run
from mint_ray.storage import location
from mint_ray.tasks.base import Task

_FIELDS = ("text", "phenotypes", "sex", "age_years", "ethnicity", "image")


def main(arguments: list[str] | None = None) -> None:
    """The command line; status 1 and a sentence where a request cannot be made."""
    options = _parser().parse_args(arguments)
    try:
        print(json.dumps(request_of(options), ensure_ascii=False))
    except MintError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mint-ray ask", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=location, help="the run whose models are served, e.g. runs/demo")
    parser.add_argument("--model", default="aligned", help="the name that it is served by")
    parser.add_argument("--findings", default="", help="names or ids, separated by ;")
    parser.add_argument("--excluded", default="", help="findings that were looked for and are not there")
    parser.add_argument("--sex", choices=get_args(Sex))
    parser.add_argument("--age", type=float, help="in years")
    parser.add_argument("--ethnicity")
    parser.add_argument("--note", help="free text")
    parser.add_argument("--image", type=Path, help="a picture, for a model that sees images")
    return parser


def request_of(options: argparse.Namespace) -> dict[str, Any]:
    """The body of the chat completion that the command line describes.

    Raises:
        RunError: there is no such run.
        CorpusError: a finding's id is unknown, the image cannot be read, or a value is none of a case.
    """
    config = open_run(options.run).config
    try:
        case = _case(options, config.task)
        if unread := [name for name in _FIELDS if getattr(case, name) and not config.task.reads(name)]:
            raise CorpusError(f"the task {config.task.kind} reads no {', '.join(unread)}: leave out what says it")
        view = config.task.downstream_view(case)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise CorpusError(f"{error.title.lower()}: {field}: {first['msg']}") from None
    if view.withheld:
        print(f"not shown to a model of this task: {', '.join(view.withheld)}", file=sys.stderr)
    return chat_request(config.task, view, options.model, max_tokens=config.inference.max_tokens, temperature=0)


def _case(options: argparse.Namespace, task: Task) -> Case:
    return Case(
        case_id="asked",
        group_id="asked",
        text=options.note,
        phenotypes=[*phenotypes(options.findings, task), *phenotypes(options.excluded, task, excluded=True)],
        sex=options.sex,
        age_years=options.age,
        ethnicity=options.ethnicity,
        image=_image(options.image),
    )


def phenotypes(listed: str, task: Task, excluded: bool = False) -> list[Phenotype]:
    """Findings by id or name; a name that the task's vocabulary does not have is taken as it is, and said to be.

    Raises:
        CorpusError: an id is unknown.
    """
    found = [task.phenotype(each.strip(), excluded) for each in listed.split(";") if each.strip()]
    for unknown in (phenotype.name for phenotype in found if task.terms and not phenotype.id):
        print(f"{unknown!r} is no term of {task.terms}; asked as it is", file=sys.stderr)
    return found


def _image(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return check_image(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({type(error).__name__})") from None


if __name__ == "__main__":
    main()
