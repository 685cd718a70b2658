"""A patient to an answer in the terminal: by an engine that is started here, or by a model that is being served.

    mint-ray ask runs/demo "A 4-year-old girl with short stature and hypotonia, no seizures."
    mint-ray ask runs/demo "Short stature; Hypotonia" --sex female --endpoint http://127.0.0.1:8001/v1 --explain

What is asked is a note, of which findings are read, or findings: names or ids of the task's vocabulary, separated by `;`.
What the run's task shows its language model is shown, no more; what is left out is said on standard error. With
`--request` nothing is asked: the request is printed, in the very words that alignment used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from pydantic import ValidationError

from mint_ray.answer.candidates import Candidate, candidates, index_of
from mint_ray.config import Configuration
from mint_ray.corpora.images import check_image
from mint_ray.errors import CorpusError, MintError
from mint_ray.inference.asking import chat_request
from mint_ray.records import Case, Phenotype, Sex
from mint_ray.runs import Run, open_run
from mint_ray.storage import location
from mint_ray.tasks.base import Task, View

_FIELDS = ("text", "phenotypes", "sex", "age_years", "ethnicity", "image")


def main(arguments: list[str] | None = None) -> None:
    """The command line; status 1 and a sentence where nothing can be asked."""
    options = _parser().parse_args(arguments)
    try:
        run = open_run(options.run)
        case, view = asked_of(options, run.config.task)
        if view.withheld and not options.explain:
            print(f"not shown to a model of this task: {', '.join(view.withheld)}", file=sys.stderr)
        if options.request:
            print(json.dumps(request_of(run, view, options.model), ensure_ascii=False))
            return
        told = ask(run, case, options.model, options.endpoint)
        print(
            json.dumps(as_json(told, case), ensure_ascii=False)
            if options.json
            else as_text(told, case, options.explain)
        )
    except MintError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mint-ray ask", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=location, help="the run whose model is asked, e.g. runs/demo")
    parser.add_argument("asked", nargs="?", help="a note, or findings separated by ;")
    parser.add_argument("--endpoint", help="ask a model that is being served, e.g. http://127.0.0.1:8001/v1")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the answer for machines")
    shown.add_argument("--explain", action="store_true", help="print what was read, looked up and withheld, too")
    shown.add_argument("--request", action="store_true", help="ask nothing: print the request of OpenAI's chat API")
    parser.add_argument("--model", default="aligned", choices=("aligned", "base"), help="who is asked")
    parser.add_argument("--findings", default="", help="names or ids, separated by ;")
    parser.add_argument("--excluded", default="", help="findings that were looked for and are not there")
    parser.add_argument("--sex", choices=get_args(Sex))
    parser.add_argument("--age", type=float, help="in years")
    parser.add_argument("--ethnicity")
    parser.add_argument("--note", help="free text")
    parser.add_argument("--image", type=Path, help="a picture, for a model that sees images")
    return parser


def asked_of(options: argparse.Namespace, task: Task) -> tuple[Case, View]:
    """The case that the command line describes, its note read, and what a model is shown of it.

    Raises:
        CorpusError: a finding's id is unknown, the image cannot be read, or a value is none of a case.
    """
    try:
        case = _case(options, task)
        if unread := [name for name in _FIELDS if getattr(case, name) and not task.reads(name)]:
            raise CorpusError(f"the task {task.kind} reads no {', '.join(unread)}: leave out what says it")
        if task.terms and case.text:
            from mint_ray.notes.cases import with_note_read

            case = with_note_read(case)
        return case, task.downstream_view(case)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise CorpusError(f"{error.title.lower()}: {field}: {first['msg']}") from None


def request_of(run: Run, view: View, model: str) -> dict[str, Any]:
    """The body of the chat completion that asks a served model about what it is shown."""
    config = run.config
    return chat_request(config.task, view, model, **bound_of(config), temperature=0)


def bound_of(config: Configuration) -> dict[str, int]:
    """The bound to an answer that a configuration sets; none where labels would make it, which are not read here."""
    return {"max_tokens": config.inference.max_tokens} if config.inference.max_tokens else {}


@dataclass(frozen=True)
class Told:
    """What a model says of a case; `looked_up` are the labels of the passages beside the prompt, None without retrieval."""

    candidates: list[Candidate]
    text: str
    complete: bool
    withheld: tuple[str, ...]
    looked_up: list[str] | None = None


def ask(run: Run, case: Case, model: str = "aligned", endpoint: str | None = None) -> Told:
    """Ask the run's model, as batch inference does; at an endpoint without what the run looks up beside the prompt.

    Raises:
        RunError, ModelError: the run has no such model, or it cannot be loaded here.
        ServiceError: the endpoint refuses, or does not answer.
        RowError: the case cannot be asked about.
    """
    return _served(run, case, model, endpoint) if endpoint else _started(run, case, model)


def _served(run: Run, case: Case, model: str, endpoint: str) -> Told:
    from mint_ray.client import ModelClient
    from mint_ray.corpora.store import run_labels
    from mint_ray.inference.endpoint import endpoint_token

    settings: dict[str, Any] = {"model": model, **bound_of(run.config)}
    token = endpoint_token()
    secret = token.get_secret_value() if token else None
    with ModelClient(endpoint, secret, task=run.config.task, labels=run_labels(run), **settings) as client:
        said = client.ask(case)
    found = [Candidate(rank=n.rank, name=n.name, id=n.id, score=n.log_probability) for n in said.names]
    return Told(found, said.text, said.complete, said.withheld)


def _started(run: Run, case: Case, model: str) -> Told:
    from mint_ray.answer.answering import AnsweringRun
    from mint_ray.candidates import candidate_source
    from mint_ray.corpora.store import held_out, run_labels
    from mint_ray.inference.answering import check_length
    from mint_ray.inference.predict import engine_class, engine_environment, weights
    from mint_ray.inference.retrieval import read_passages

    section = run.config.inference.model_copy(update={"endpoint": None})
    os.environ.update(engine_environment(section))  # before anything of the engine is loaded
    labels = run_labels(run)
    with TemporaryDirectory() as folder:
        asking = AnsweringRun(run.config.moved(Path(folder)), run, model)
        passages = (
            read_passages(section.retrieval, labels, run.config.task, held_out(run)) if section.retrieval else None
        )
        with weights(asking, model) as loaded:
            where = Path(folder)  # the engine writes nothing there: it is asked, not streamed through
            engine = engine_class(section)(
                model,
                run.config.task,
                section,
                loaded,
                run.config.run.seed,
                where,
                where,
                passages,
                candidate_source(run),
                labels,
            )
            prompt = engine.prompt(case)
            check_length(prompt, section)
            (said,) = engine.ask([case], [prompt])
    found = candidates(said.text, run.config.task, index_of(run.config, labels))
    return Told(found, said.text, said.stopped, prompt.view.withheld, prompt.retrieved)


def as_json(told: Told, case: Case) -> dict[str, Any]:
    """What `--json` prints: the answer, and what it was made from."""
    return {
        "candidates": [each.model_dump() for each in told.candidates],
        "text": told.text,
        "complete": told.complete,
        "findings": [each.model_dump(exclude={"modality"}) for each in case.phenotypes],
        "mentions": [each.model_dump() for each in case.mentions],
        "sex": case.sex,
        "age_years": case.age_years,
        "withheld": list(told.withheld),
        "looked_up": told.looked_up,
    }


def as_text(told: Told, case: Case, explain: bool = False) -> str:
    """The names in their order, as a person reads them."""
    lines = [f"{each.rank:2}. {each.name}" + (f"  ({each.id})" if each.id else "") for each in told.candidates]
    if not lines:
        lines = ["The model named nothing. It said: " + told.text.strip()]
    if not told.complete:
        lines.append("(cut off: raise inference.max_tokens)")
    return "\n".join([*lines, *(_explained(told, case) if explain else [])])


def _explained(told: Told, case: Case) -> list[str]:
    by_id: dict[str, list[str]] = {}
    for mention in case.mentions:
        place = f"{mention.status}, characters {mention.start}-{mention.end}"
        by_id.setdefault(f"{mention.name} ({mention.id})", []).append(place)
    read = [f"  {name}: {'; '.join(places)}" for name, places in by_id.items()]
    given = [f"  {p.name} ({p.id or 'no id'}){', excluded' if p.excluded else ''}" for p in case.phenotypes]
    looked_up = "nothing" if told.looked_up is None else ", ".join(told.looked_up) or "nothing that fits"
    return [
        "",
        f"Patient: {case.sex or 'sex unknown'}, {'age unknown' if case.age_years is None else f'{case.age_years:g} years'}",
        "Findings:",
        *(given or ["  none"]),
        *(["Read in the note:", *read] if read else []),
        f"Withheld from the model: {', '.join(told.withheld) or 'nothing'}",
        f"Looked up beside the prompt: {looked_up}",
    ]


def _case(options: argparse.Namespace, task: Task) -> Case:
    note, listed = _parted(options.asked, task)
    findings = "; ".join(filter(None, [options.findings, listed]))
    return Case(
        case_id="asked",
        group_id="asked",
        text="\n\n".join(filter(None, [options.note, note])) or None,
        phenotypes=[*phenotypes(findings, task), *phenotypes(options.excluded, task, excluded=True)],
        sex=options.sex,
        age_years=options.age,
        ethnicity=options.ethnicity,
        image=_image(options.image),
    )


def _parted(asked: str | None, task: Task) -> tuple[str | None, str | None]:
    """What is asked as a note, or as findings where each part is one of the task's vocabulary."""
    if not asked or not task.terms:
        return asked, None
    parts = [part.strip() for part in asked.split(";") if part.strip()]
    if all(part.startswith("HP:") or task.phenotype(part, False).id for part in parts):
        return None, asked
    return asked, None


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
