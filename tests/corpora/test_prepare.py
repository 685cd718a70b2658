"""The first stage as a whole, on Ray, from small tables and from all real phenopackets."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from mint_ray import hpo
from mint_ray.corpora.gmdb import Gmdb
from mint_ray.corpora.phenopackets import Phenopackets
from mint_ray.corpora.prepare import PART_ROWS, prepare_cases
from mint_ray.corpora.store import case_dataset, case_table, run_labels
from mint_ray.corpora.table import Table
from mint_ray.errors import ConfigError, CorpusError, RunError
from mint_ray.records import Case, arrow_schema
from mint_ray.runs import Run, StageReport
from tests.corpora.pictures import jpeg
from tests.corpora.test_gmdb import database, patient
from tests.tiny_run import tiny_config


def patients(count: int, labels: int = 6, **changes) -> list[dict]:
    """Two cases a group, the labels in turn."""
    return [
        {"case_id": f"c{i}", "group_id": f"g{i // 2}", "label_id": f"L{i // 2 % labels}", "sex": "female"} | changes
        for i in range(count)
    ]


def table(folder: Path, rows: list) -> Table:
    folder.mkdir(exist_ok=True)
    path = folder / "cases.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return Table(kind="table", path=path)


def prepared(folder: Path, corpus, **sections) -> Run:
    run = Run(tiny_config(folder / "run", corpus=corpus, **sections))
    run.carry_out("cases", prepare_cases)
    return run


def refused(run: Run) -> list[dict]:
    return pyarrow.dataset.dataset(run.stage("cases").path / "refused").to_table().to_pylist()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, local_ray) -> Run:
    """600 good rows in three parts, and bad ones of every kind between them."""
    folder = tmp_path_factory.mktemp("mixed")
    rows = patients(600)
    rows.insert(10, "{no json")
    rows.insert(300, {"case_id": "c3", "label_id": "L1"})
    rows += [{"case_id": "lonely", "label_id": "L99"}, {"case_id": "unknown", "label_id": None}]
    return prepared(folder, table(folder, rows), splits={"min_groups_per_label": 2})


def test_rows_in_are_rows_out_and_refused_by_reason(mixed):
    manifest = mixed.stage("cases").manifest
    assert manifest["rows"] == {"in": 604, "out": 601, "refused": 3}
    assert manifest["refused"] == {"duplicate-case-id": 1, "label-too-rare": 1, "no-json": 1}
    found = {row["reason"]: (row["source"], row["row"], row["case_id"]) for row in refused(mixed)}
    assert found == {
        "no-json": ("cases.jsonl", 11, None),
        "duplicate-case-id": ("cases.jsonl:301", None, "c3"),
        "label-too-rare": ("cases.jsonl:603", None, "lonely"),
    }


def test_figures_count_splits_and_what_cases_have(mixed):
    figures = mixed.stage("cases").manifest["figures"]
    assert figures["labels"] == 6
    assert figures["with"]["sex"] == figures["with"]["label_id"] == 600
    cases = case_table(mixed, ["split", "group_id"]).to_pylist()
    assert {name: split["cases"] for name, split in figures["splits"].items()} == Counter(c["split"] for c in cases)
    assert figures["splits"]["test"] == {"cases": 120, "groups": 60, "labels": 6}
    assert sum(split["groups"] for split in figures["splits"].values()) == len({c["group_id"] for c in cases}) == 301


def test_cases_are_parts_of_the_case_schema_in_the_order_of_the_source(mixed):
    parts = sorted(mixed.stage("cases").path.glob("*.parquet"))
    assert [pq.read_metadata(p).num_rows for p in parts] == [PART_ROWS - 1, PART_ROWS - 1, 601 - 2 * (PART_ROWS - 1)]
    assert all(pq.read_schema(p) == arrow_schema(Case) for p in parts)
    assert case_table(mixed, ["case_id"])["case_id"].to_pylist() == [f"c{i}" for i in range(600)] + ["unknown"]
    assert {p.name for p in mixed.stage("cases").path.iterdir()} == {
        *(p.name for p in parts),
        *("begun.json", "manifest.json", "labels.json", "refused"),
    }


def test_later_stages_read_cases_as_a_stream_or_as_a_table(mixed):
    streamed = case_dataset(mixed).materialize()
    assert streamed.num_blocks() == 3
    assert sorted(row["case_id"] for row in streamed.take_all()) == sorted(case_table(mixed)["case_id"].to_pylist())
    held_out = case_table(mixed, ["case_id", "label_id"], splits=["test"])
    assert held_out.column_names == ["case_id", "label_id"]
    assert len(held_out) == 120
    assert [label.id for label in run_labels(mixed)] == [f"L{i}" for i in range(6)]


def test_the_same_configuration_gives_the_same_files_and_leftovers_of_a_killed_run_are_none(tmp_path, local_ray):
    corpus = table(tmp_path, [*patients(40), "{no json"])
    first = prepared(tmp_path / "first", corpus)
    other = Run(tiny_config(tmp_path / "other" / "run", corpus=corpus))
    stage = other.stage("cases").path
    other.stage("cases").begin()
    for leftover in ("part-00099.parquet", "refused/part-00099.parquet", ".outcomes/1/x.parquet"):
        (stage / leftover).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"case_id": ["twice"]}), stage / leftover)
    other.carry_out("cases", prepare_cases)
    assert case_table(first).equals(case_table(other))
    assert refused(first) == refused(other)
    assert {p.relative_to(stage) for p in stage.rglob("*.parquet")} == {  # no leftover among them
        Path("part-00000.parquet"),
        Path("refused/part-00000.parquet"),
    }


def test_photographs_come_through_with_their_official_splits(tmp_path, local_ray):
    rows = [patient(i, internal_syndrome_id=str(i % 6)) for i in range(24)]
    folder = database(tmp_path / "gmdb", rows[:18], rows[18:])
    (folder / "gmdb_crops" / "3_aligned.jpg").unlink()
    run = prepared(tmp_path, Gmdb(kind="gmdb", folder=folder))
    assert run.stage("cases").manifest["refused"] == {"no-photograph": 1}
    assert run.stage("cases").manifest["figures"]["with"]["image"] == 23
    cases = {c["case_id"]: c for c in case_table(run).to_pylist()}
    assert all(c["image"] == jpeg() for c in cases.values())
    assert {i for i, c in cases.items() if c["split"] == "test"} == {str(i) for i in range(18, 24)}


def test_a_share_for_the_scorer_that_no_case_can_have_is_told(tmp_path, local_ray):
    shares = {"scorer": 0.3, "train": 0.3, "validation": 0.1, "test": 0.3}
    two_groups_a_label = table(tmp_path, patients(16, labels=4))
    with pytest.raises(CorpusError, match="no labelled case is in the split scorer: its labels have too few groups"):
        prepared(tmp_path, two_groups_a_label, splits=shares)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{", "{"], "no case is left .2 rows read; refused: 2 no-json, first: cases.jsonl row 1"),
        (patients(8, labels=1), "the cases carry 1 label"),
        (patients(12, group_id="g"), "all cases are of one group .g."),
        (patients(12, split="train"), "no labelled case is in the split test"),
    ],
)
def test_a_corpus_that_teaches_or_tests_nothing_says_why(tmp_path, local_ray, rows, message):
    with pytest.raises(CorpusError, match=message):
        prepared(tmp_path, table(tmp_path, rows))
    assert {p.name for p in (tmp_path / "run" / "cases").iterdir()} == {"begun.json"}


def test_fewer_labels_than_the_answers_need_are_told_before_any_later_stage(tmp_path, local_ray):
    with pytest.raises(ConfigError, match=r"preferences.chosen is 3, but the corpus has 2 labels"):
        prepared(tmp_path, table(tmp_path, patients(40, labels=2)))


def test_cases_cannot_be_read_before_they_are_complete(tmp_path):
    with pytest.raises(RunError, match="run the stage `cases` first"):
        run_labels(Run(tiny_config(tmp_path)))


def test_a_full_disk_under_a_worker_is_told_with_the_folder(tmp_path, local_ray):
    import ray

    def fill(batch):
        Path("/dev/full").write_text("x" * 100_000)
        return batch

    def work(run: Run) -> StageReport:
        ray.data.range(2).map_batches(fill).materialize()

    run = Run(tiny_config(tmp_path))
    with pytest.raises(RunError, match=f"{run.stage('cases').path}: the disk is full"):
        run.carry_out("cases", work)


def test_an_error_of_ours_comes_back_from_a_worker_as_itself(tmp_path, local_ray):
    import ray

    def refuse(batch):
        raise CorpusError("member 3 is encrypted")

    run = Run(tiny_config(tmp_path))
    with pytest.raises(CorpusError, match=r"^member 3 is encrypted$"):
        run.carry_out("cases", lambda run: ray.data.range(2).map_batches(refuse).materialize())


def test_all_real_packets_are_accounted_for_and_no_publication_is_torn_apart(tmp_path, real_data, local_ray):
    source = real_data("phenopackets/phenopackets.jsonl.gz")
    run = prepared(tmp_path, Phenopackets(kind="phenopackets", path=source), splits={"min_groups_per_label": 4})
    manifest = run.stage("cases").manifest
    assert manifest["rows"]["in"] == 6854 == manifest["rows"]["out"] + manifest["rows"]["refused"]
    assert {r: manifest["refused"][r] for r in ("no-terms", "no-observed-terms")} == {
        "no-terms": 1,
        "no-observed-terms": 1,
    }
    rows = case_table(run, ["group_id", "split", "label_id"]).to_pylist()
    splits, groups = {}, {}
    for row in rows:
        splits.setdefault(row["group_id"], set()).add(row["split"])
        groups.setdefault(row["label_id"], set()).add(row["group_id"])
    assert all(len(found) == 1 for found in splits.values())
    assert min(map(len, groups.values())) == 4
    assert manifest["figures"]["splits"]["test"]["labels"] == manifest["figures"]["labels"] == len(groups)
    known = {label.id: label.synonyms for label in run_labels(run)}
    renamed = set(known) & set(hpo.other_names())
    assert renamed and all(set(hpo.other_names()[i]) <= set(known[i]) for i in renamed)


def test_patients_of_one_paper_are_one_group_and_labels_answer_to_the_packets_names(tmp_path, here):
    (tmp_path / "packets").mkdir()
    references = [["PMID:1"], ["DOI:10.1000/a", "PMID: 1"], ["https://doi.org/10.1000/A"], ["PMID:2"], ["PMID:3"]]
    called = {"OMIM:161800": "Congenital myopathy 2A", "OMIM:147920": "Niikawa syndrome", "OMIM:163950": None}
    for name, label in (called | {"OMIM:154700": "Shared", "OMIM:105830": "shared"}).items():
        for i, (reference, *beside) in enumerate(references):
            packet = {
                "id": f"{name[5:]}-{i}",
                "phenotypicFeatures": [{"type": {"id": "HP:0001250"}}],
                "diseases": [{"term": {"id": name, "label": label}}],
                "metaData": {"externalReferences": [{"id": reference, "reference": "".join(beside)}]},
            }
            (tmp_path / "packets" / f"{packet['id']}.json").write_text(json.dumps(packet))
    run = prepared(tmp_path, Phenopackets(kind="phenopackets", path=tmp_path / "packets"))
    cases = case_table(run).to_pylist()
    assert {c["case_id"][-1]: c["group_id"] for c in cases} == {
        "0": "PMID:1",
        "1": "PMID:1",
        "2": "PMID:1",
        "3": "PMID:2",
        "4": "PMID:3",
    }
    assert len({c["split"] for c in cases if c["group_id"] == "PMID:1"}) == 1
    assert sum(split["groups"] for split in run.stage("cases").manifest["figures"]["splits"].values()) == 3
    synonyms = {label.id: label.synonyms for label in run_labels(run)}
    assert "Shared" not in synonyms["OMIM:154700"] and "shared" not in synonyms["OMIM:105830"]
    assert run.stage("cases").manifest["figures"]["names_shared"] == {
        "count": 1,
        "first": {"shared": ["OMIM:105830", "OMIM:154700"]},
    }
    assert "Congenital myopathy 2A" in synonyms["OMIM:161800"] and "Niikawa syndrome" in synonyms["OMIM:147920"]
