"""Pairs on disk in the format of TRL and `datasets`; a file that is anything else is refused, with column and case."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mint_ray.errors import RunError
from mint_ray.parquet import part_files
from mint_ray.preferences.contents import read_contents
from mint_ray.preferences.store import pair_dataset, pair_schema
from mint_ray.records import PreferencePair
from tests.rankings.test_parts import EyeScorer, build_without_ray
from tests.rankings.toys import toy_cases, toy_run

ROW = dict(
    prompt=[{"role": "user", "content": "the note of Jane Doe"}],
    chosen=[{"role": "assistant", "content": "1. 'A'"}],
    rejected=[{"role": "assistant", "content": "1. 'B'"}],
    case_id="p000",
    group_id="g",
    split="train",
    label_id="A",
    chosen_label_ids=["A"],
    rejected_label_ids=["B"],
    chosen_scores=[-1.0],
    rejected_scores=[-2.0],
    withheld=[],
    scorer="words",
    scorer_digest="0123",
    policy="{}",
    schema_version=1,
)


@pytest.fixture
def stored(tmp_path):
    """Writes a table, or rows, where a run has its training pairs, and gives the run."""

    def store(table):
        run = toy_run(tmp_path, toy_cases(1), files=1)
        build_without_ray(run)
        (path,) = part_files(run.stage("preferences").path / "pairs" / "train")
        pq.write_table(table if isinstance(table, pa.Table) else pa.Table.from_pylist(table), path)
        return run

    return store


def without(name):
    return {key: value for key, value in ROW.items() if key != name}


def test_rows_as_another_tool_writes_them_are_read(stored):
    more = ROW | {"split": None, "label_id": None, "note": "a column of its own", "withheld": ["image"]}
    run = stored(pa.Table.from_pylist([ROW, more]))
    first, second = pair_dataset(run, "train")
    assert first == ROW
    assert (second["withheld"], second["label_id"]) == (["image"], None)
    assert read_contents(run).pairs == {"train": 2, "validation": 0}


@pytest.mark.parametrize("name", sorted(ROW))
def test_a_column_that_is_absent_is_named(stored, name):
    with pytest.raises(RunError, match=rf"part-00000\.parquet: the column `{name}` is not there; expected "):
        pair_dataset(stored([without(name)]), "train")


@pytest.mark.parametrize("name", sorted(ROW))
def test_a_field_that_is_null_is_named_with_its_case_unless_it_may_be(stored, name):
    run = stored(pa.Table.from_pylist([ROW, ROW | {name: None}], schema=pair_schema(images=False)))
    if name in ("split", "label_id"):
        assert pair_dataset(run, "train")[1][name] is None
        return
    case = None if name == "case_id" else "p000"
    rule = " is of schema version None" if name == "schema_version" else f": `{name}` is null"
    with pytest.raises(RunError, match=f"the pair of case {case!r}{rule}"):
        pair_dataset(run, "train")


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        *(
            (name, "a string", "of type string")
            for name in ("prompt", "chosen", "rejected", "chosen_scores", "withheld")
        ),
        *((name, "3.x", "of type string") for name in ("schema_version",)),
        ("prompt", [{"from": "human", "value": "ShareGPT"}], "."),
        ("chosen", [["assistant", "x"]], "of type list"),
        ("chosen_label_ids", [{"id": "A"}], "of type list<.*struct"),
        ("rejected_scores", ["low"], "of type list<.*string"),
        ("case_id", ["p000"], "of type list"),
        ("prompt", {"role": "user", "content": "no list"}, "of type struct"),
    ],
)
def test_a_column_of_another_type_is_named_with_what_was_expected(stored, name, value, seen):
    with pytest.raises(RunError, match=rf"`{name}`.*{seen}.*docs/preferences\.md"):
        pair_dataset(stored([ROW | {name: value}]), "train")


ASSISTANT = {"role": "assistant", "content": "1. 'A'"}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("prompt", [], "holds no message"),
        ("chosen", [], "holds no message"),
        ("prompt", [None], "holds a null"),
        ("prompt", [{"role": None, "content": "x"}], "without role or content"),
        ("rejected", [{"role": "assistant", "content": None}], "without role or content"),
        ("rejected", [{"role": "assistant", "content": ""}], "without role or content"),
        ("chosen", [{"role": "user", "content": "x"}], "messages of user; expected one of the assistant"),
        ("chosen", [ASSISTANT, ASSISTANT], "messages of assistant, assistant; expected one"),
        ("chosen_scores", [None], "holds a null"),
        ("schema_version", 2, "is of schema version 2; this release reads 1"),
    ],
)
def test_a_pair_that_lacks_something_is_named_by_its_case_and_its_text_is_not_told(stored, name, value, problem):
    run = stored(pa.Table.from_pylist([ROW | {name: value}], schema=pair_schema(images=False)))
    with pytest.raises(RunError, match=f"the pair of case 'p000'.*{problem}") as raised:
        pair_dataset(run, "train")
    assert "Jane" not in str(raised.value)


@pytest.mark.parametrize("damage", [lambda data: b"PAR1 half of a", lambda data: data[:4] + bytes(400) + data[404:]])
def test_a_file_that_is_damaged_is_refused(stored, damage):
    run = stored([ROW] * 50)
    (path,) = part_files(run.stage("preferences").path / "pairs" / "train")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match="cannot be read as Parquet"):
        pair_dataset(run, "train")


def test_what_the_stage_writes_is_read_with_and_without_images(tmp_path):
    for task, scorer in (("tissue", EyeScorer), ("rare_disease", None)):
        run = toy_run(tmp_path / task, toy_cases(6), files=2, task=task)
        build_without_ray(run, *([scorer] if scorer else []))
        pairs = pair_dataset(run, "train")
        names = set(PreferencePair.model_fields)
        assert set(pairs.column_names) == (names if task == "tissue" else names - {"images"})
