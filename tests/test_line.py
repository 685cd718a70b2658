"""The line and its versions: what a stage writes by default, and how it asks, does not change unless its version does.

`python -m tests.test_line` records what is so today; it refuses where a version has to be raised first.
"""

import json
import sys
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from mint_ray.config import Configuration
from mint_ray.line import LINE, function_of
from mint_ray.records import Case, Phenotype
from mint_ray.runs import digest_of
from mint_ray.sections import KindSection, kind_of, kinds, result_settings

RECORD = Path(__file__).with_name("line_versions.json")
CASE = Case(
    case_id="c",
    group_id="g",
    text="a note",
    image=b"image",
    sex="female",
    age_years=4,
    phenotypes=[Phenotype(id="HP:0001252", name="Hypotonia"), Phenotype(id="HP:1", name="Seizure", excluded=True)],
)


def today() -> dict:
    """By stage: its version, and by section, or kind of it, the defaults and the wording that the version stands for."""
    return {name: {"version": stage.version, **sections(stage.sections)} for name, stage in LINE.items()}


def sections(names) -> dict:
    found = {}
    for name in names:
        annotation = Configuration.model_fields[name].annotation
        base = (typing.get_args(annotation) or (annotation,))[0]  # of a section that may be left out, the section
        if issubclass(base, KindSection):
            found |= {
                f"{name}.{kind}": defaults(kind_of(base, kind)) | wording(name, kind, base) for kind in kinds(base)
            }
        else:
            found[name] = defaults(base)
    return found


def defaults(section: type[BaseModel]) -> dict:
    fields = {name: field for name, field in section.model_fields.items() if not field.is_required()}
    given = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    whole = section.model_construct(**dict.fromkeys(section.model_fields) | given)
    settings = {name: value for name, value in result_settings(whole).items() if name in fields}
    version = {"version": section.version} if issubclass(section, KindSection) else {}
    return json.loads(json.dumps(version | settings, default=str))


def wording(section: str, kind: str, base) -> dict:
    """How a task shows a case, asks and answers, as a digest."""
    if section != "task":
        return {}
    task = kind_of(base, kind)(kind=kind, answer_size=2)
    views = [getattr(task, name)(CASE) for name in ("scorer_view", "downstream_view", "blinded_view")]
    asked = [message.model_dump() for message in task.prompt(views[1])]
    shown = [[view.text, view.image and len(view.image), view.withheld] for view in views]
    answer = task.answer(["one", "two"])
    return {"wording": digest_of([shown, asked, answer, task.parse(answer), task.query(CASE)])}


def changed(recorded: dict, found: dict) -> list[str]:
    """What has changed while the stage's version, and the part's own, stayed; new settings and parts are no change."""
    return [
        f"{stage}: {section}.{key} was {value!r}, is now {found[stage][section].get(key)!r}"
        for stage, was in recorded.items()
        if stage in found and was["version"] == found[stage]["version"]
        for section, settings in was.items()
        if section != "version" and section in found[stage]
        if settings.get("version") == found[stage][section].get("version")
        for key, value in settings.items()
        if found[stage][section].get(key) != value
    ]


def test_a_default_or_a_wording_changes_with_the_version_of_its_stage_alone():
    recorded, found = json.loads(RECORD.read_text()), today()
    told = changed(recorded, found)
    assert not told, f"{told}: raise the stage's version in mint_ray/line.py, or that of the part's class"
    assert recorded == found, "settings or versions are new: record them with `python -m tests.test_line`"


def test_the_record_tells_what_is_new_from_what_has_changed():
    was = {"answers": {"version": 1, "inference": {"max_tokens": 384}, "task.t": {"version": 1, "wording": "a"}}}

    def now(version=1, task=1, **inference):
        return {"answers": {"version": version, "inference": inference, "task.t": {"version": task, "wording": "b"}}}

    assert changed(was, now(task=2, max_tokens=384, new=1)) == []
    assert changed(was, now(task=2, max_tokens=385)) == ["answers: inference.max_tokens was 384, is now 385"]
    assert changed(was, now(max_tokens=384)) == ["answers: task.t.wording was 'a', is now 'b'"]
    assert changed(was, now(version=2, max_tokens=385)) == []


@pytest.mark.parametrize("name", list(LINE))
def test_a_stage_reads_those_before_it_and_its_functions_are_there(name):
    stage = LINE[name]
    assert set(stage.reads) <= set(list(LINE)[: list(LINE).index(name)])
    assert set(stage.sections) <= set(Configuration.model_fields)
    assert callable(function_of(stage.work))
    assert stage.asks is None or callable(function_of(stage.asks))


if __name__ == "__main__":
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if told := changed(before, today()):
        sys.exit("\n".join([*told, "raise the stage's version in mint_ray/line.py first"]))
    RECORD.write_text(json.dumps(today(), indent=1) + "\n")
