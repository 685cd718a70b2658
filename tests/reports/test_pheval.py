"""What PhEval reads: checked here by its names, columns and rows, and by PhEval itself where it is installed."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mint_ray.inference.store import answer_folder, refusal_folder
from mint_ray.parquet import write_part
from mint_ray.records import Answer, Refusal, from_table, to_table
from mint_ray.reports.evaluate import evaluate
from mint_ray.reports.pheval import LONGEST, Ranked, file_name, file_stems, in_order, own_file, result_table
from mint_ray.runs import Run
from tests.tiny_run import LABELS, answered_run, tiny_case, write_cases

MODELS = ("aligned", "base", "scorer")
CASES = [f"case-{i:03}" for i in range(12)]
# pheval 0.7.14, post_processing.py: what `_write_disease_result` and `_write_gene_result` select, in polars' types.
DISEASE_COLUMNS = [
    ("rank", pa.int64()),
    ("score", pa.float64()),
    ("disease_identifier", pa.string()),
    ("mondo_identifier", pa.string()),
    ("true_positive", pa.bool_()),
]
GENE_COLUMNS = [
    ("rank", pa.int64()),
    ("score", pa.float64()),
    ("gene_symbol", pa.string()),
    ("gene_identifier", pa.string()),
    ("true_positive", pa.bool_()),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Cases of no file of their own."""
    run = answered_run(tmp_path_factory.mktemp("run"))
    evaluate(run)
    return run.stage("evaluation").path / "pheval"


@dataclass(frozen=True)
class Packets:
    """A folder of phenopackets whose files are not called by their ids, and the run that was made of them."""

    folder: Path
    run: Run

    @property
    def results(self) -> Path:
        return self.run.stage("evaluation").path / "pheval"

    @property
    def stems(self) -> list[str]:
        """What PhEval calls the cases, in the order of the cases."""
        return [packet_stem(i) for i in range(12)]


@pytest.fixture(scope="module")
def packets(tmp_path_factory):
    """Case 2 was refused by the base model, case 3 answered with nothing, case 4 has a name of no label alone."""
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(12):
        (folder / f"{packet_stem(i)}.json").write_text(json.dumps(packet(i)))
    run = answered_run(tmp_path_factory.mktemp("run"))
    train = [tiny_case(6 * i, case_id=f"train-{i}", split="train") for i in range(20, 26)]
    cases = [tiny_case(i, source=f"{folder.name}/{packet_stem(i)}.json") for i in range(12)]
    write_cases(run, cases + train)
    part = answer_folder(run, "base") / "part-0.parquet"
    answers = [answer for answer in from_table(pq.read_table(part), Answer) if answer.case_id != "case-002"]
    answers = [a.model_copy(update={"text": ""}) if a.case_id == "case-003" else a for a in answers]
    write_part(to_table(answers, Answer), part)
    refusal = Refusal(source=cases[2].source, case_id="case-002", reason="prompt-too-long")
    write_part(to_table([refusal], Refusal), refusal_folder(run, "base") / "part-0.parquet")
    evaluate(run)
    return Packets(folder, run)


def packet_stem(i: int) -> str:
    """As the published corpora have them: author, year, gene, patient; the order is not that of the ids."""
    return f"Author{11 - i:02}-2020-GENE é (a.b)-Patient_{i}"


def packet(i: int) -> dict:
    label = LABELS[i % len(LABELS)]
    return {
        "id": f"case-{i:03}",
        "subject": {"id": f"patient {i}"},
        "diseases": [{"term": {"id": label.id, "label": label.name}}],
        "metaData": {"phenopacketSchemaVersion": "2.0"},
    }


def true_rows(folder: Path) -> list[tuple[str, int]]:
    """File and rank of every row of a truth, in PhEval's order."""
    rows = [(path.name, pq.read_table(path).to_pylist()) for path in sorted(folder.iterdir())]
    return [(name, row["rank"]) for name, found in rows for row in found if row["true_positive"]]


def test_every_model_has_one_file_a_case(results):
    assert sorted(path.name for path in results.iterdir()) == sorted([*MODELS, "files.parquet"])
    for model in MODELS:
        files = sorted((results / model / "pheval_disease_results").iterdir())
        assert [file.name for file in files] == [f"{case}-disease_result.parquet" for case in CASES]


def test_the_columns_are_those_of_pheval(results):
    table = pq.read_table(results / "scorer" / "pheval_disease_results" / "case-001-disease_result.parquet")
    assert table.schema.equals(pa.schema(DISEASE_COLUMNS))
    assert table.to_pylist()[0] == {
        "rank": 1,
        "score": 0.0,
        "disease_identifier": "OMIM:2",
        "mondo_identifier": "OMIM:2",
        "true_positive": True,
    }
    assert table["rank"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert table["true_positive"].to_pylist() == [True] + [False] * 5


def test_an_answer_keeps_the_places_of_its_names_and_a_label_counts_once():
    assert in_order([None, "a", "b", "a"]) == [Ranked("a", 2, 1 / 2), Ranked("b", 3, 1 / 3)]


def test_a_truth_that_is_not_named_is_a_miss_as_pheval_has_it(results):
    table = pq.read_table(results / "base" / "pheval_disease_results" / "case-004-disease_result.parquet")
    assert table.select(["rank", "score", "disease_identifier", "true_positive"]).to_pylist() == [
        {"rank": 0, "score": 0.0, "disease_identifier": "OMIM:5", "true_positive": True}
    ]


def test_genes_have_symbol_and_id():
    table = result_table("gene", [Ranked("HGNC:1100", 1, 1.0)], "HGNC:1100", {"HGNC:1100": "BRCA1"})
    assert table.schema.equals(pa.schema(GENE_COLUMNS))
    assert table.to_pylist() == [
        {"rank": 1, "score": 1.0, "gene_symbol": "BRCA1", "gene_identifier": "HGNC:1100", "true_positive": True}
    ]


def test_a_case_is_called_by_its_packets_file_and_every_case_has_one_truth(packets):
    """Also those that a model was not asked about, did not answer, or answered with names of no label."""
    theirs = sorted(f"{path.stem}-disease_result.parquet" for path in packets.folder.iterdir())
    for model in MODELS:
        rows = true_rows(packets.results / model / "pheval_disease_results")
        assert [name for name, _ in rows] == theirs
        assert [rank for _, rank in rows] == [{"aligned": 2, "base": 0, "scorer": 1}[model]] * 12


def test_which_case_a_file_stands_for_is_told(packets):
    assert pq.read_table(packets.results / "files.parquet").to_pylist() == [
        {"file": stem, "case_id": case, "source": f"{packets.folder.name}/{stem}.json"}
        for stem, case in zip(packets.stems, CASES, strict=True)
    ]


def test_results_under_names_that_no_case_has_any_more_are_gone(tmp_path):
    run = answered_run(tmp_path)
    stale = run.stage("evaluation").path / "pheval" / "base" / "pheval_disease_results" / "old-disease_result.parquet"
    stale.parent.mkdir(parents=True)
    stale.touch()
    evaluate(run)
    assert not stale.exists() and len(list(stale.parent.iterdir())) == 12


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("corpus/Author-2020-GENE-Patient_5.json", "Author-2020-GENE-Patient_5"),
        ("a.json", "a"),
        ("corpus/a/b/c.json.gz", "c"),
        ("corpus/x.v2.yaml", "x.v2"),
        ("corpus.zip!folder/x.json", "x"),
        ("corpus.ZIP!made\\on\\windows.json", "windows"),
        ("corpus/well!.json", "well!"),
        ("corpus/a:b.json", "a:b"),
        ("corpus/null\x00 and\nline.json", "null_ and_line"),
        ("corpus/\udcff.json", "_"),
        ("corpus.jsonl:12", None),
        ("corpus.jsonl.gz:12", None),
        ("patients.parquet:3", None),
        ("cohort.json!members[3]", None),
        ("corpus.zip!cohort.json!members[3]", None),
        ("simulated patients", None),
        ("", None),
    ],
)
def test_the_file_that_is_a_cases_own(source, stem):
    assert own_file(source) == stem


def test_without_a_file_of_its_own_a_case_is_called_by_its_id():
    stems = file_stems({"../a b/c": "corpus.jsonl:1", "PMID:12_x": "corpus.jsonl:2"}, "gene")
    assert stems == {"../a b/c": "_._a_b_c", "PMID:12_x": "PMID_12_x"}


@pytest.mark.parametrize(
    "sources",
    [
        {"a:1": "x.jsonl:1", "a_1": "x.jsonl:2", "a/1": "x.jsonl:3"},
        {"p": "one/x.json", "q": "two/x.json"},
        {"p": "one/x.json", "q": "two/X.json"},
        {"p": "one/caf\u00e9.json", "q": "two/cafe\u0301.json"},
        {"x": "x.jsonl:1", "q": "two/x.json"},
        {"ä" * 300: "x.jsonl:1", "ä" * 300 + "b": "x.jsonl:2"},
        {"p": f"{'x' * 250}.json", "q": f"{'x' * 249}y.json"},
    ],
    ids=["punctuation", "folders", "capitals", "accents", "id and file", "long ids", "long files"],
)
def test_no_two_cases_have_one_file(sources, tmp_path):
    """Written for real: a file system has the last word on what is one name, and on how long one may be."""
    stems = file_stems(sources, "disease")
    for stem in stems.values():
        write_part(result_table("disease", [], "OMIM:1", {}), tmp_path / file_name(stem, "disease"))
    assert len({name.name.casefold() for name in tmp_path.iterdir()}) == len(sources)
    assert stems == file_stems(dict(reversed(sources.items())), "disease")


def test_the_longest_name_that_pheval_can_write_is_kept():
    longest = "x" * (LONGEST - len("-disease_result.parquet"))
    assert file_stems({"a": f"{longest}.json"}, "disease") == {"a": longest}
    assert len(file_name(file_stems({"a": f"{longest}y.json"}, "disease")["a"], "disease")) == LONGEST


def test_a_case_without_truth_or_answer_has_a_file_without_rows():
    assert result_table("disease", [], None, {}).num_rows == 0


def test_pheval_reads_them_and_counts_as_we_do(packets):
    """The aligned model names every truth second, the base model none, the scorer every truth first."""
    pheval = the_real_pheval()
    for model, top_1, top_3, mrr in [("aligned", 0, 12, 0.5), ("base", 0, 0, 0), ("scorer", 12, 12, 1)]:
        found, _, _ = pheval.process_stats([pheval_run(model, packets, packets.results / model)], pheval.kind, True)
        stats = found.to_dicts()[0]
        assert (stats["number_of_samples"], stats["top1"], stats["top3"]) == (12, top_1, top_3)
        assert stats["mrr"] == pytest.approx(mrr)


def test_pheval_holds_them_against_another_tools_case_by_case(packets, tmp_path):
    """The other tool says nothing of one case, and of case i it ranks the truth i-th, so that a shift would show."""
    pheval = the_real_pheval()
    import polars as pl
    from pheval.post_processing.post_processing import SortOrder, executed_results, generate_disease_result

    executed_results.clear()
    (tmp_path / "pheval_disease_results").mkdir()
    for i in range(12):
        truth = LABELS[i % len(LABELS)].id
        ids = [f"OMIM:{900 + k}" for k in range(i)] + [truth]
        said = pl.DataFrame({"disease_identifier": ids, "score": [1.0 / (1 + k) for k in range(len(ids))]})
        if i != 7:
            path = packets.folder / f"{packet_stem(i)}.json"
            generate_disease_result(said, SortOrder.DESCENDING, tmp_path, path, packets.folder)
    runs = [pheval_run("aligned", packets, packets.results / "aligned"), pheval_run("other", packets, tmp_path)]
    _, _, ranks = pheval.process_stats(runs, pheval.kind, True)
    expected = [
        {"result_file": f"{packet_stem(i)}-disease_result.parquet", "aligned": 2, "other": 0 if i == 7 else i + 1}
        for i in range(11, -1, -1)
    ]
    assert ranks.select(["result_file", "aligned", "other"]).to_dicts() == expected


def the_real_pheval():
    reason = "PhEval is not installed here: pip install pheval==0.7.14, in an environment of its own"
    benchmark = pytest.importorskip("pheval.analyse.benchmark", reason=reason)
    benchmark.kind = benchmark.BenchmarkOutputTypeEnum.DISEASE.value
    return benchmark


def pheval_run(name: str, packets: Packets, folder: Path):
    from pheval.analyse.run_data_parser import RunConfig

    return RunConfig(
        run_identifier=name,
        phenopacket_dir=packets.folder,
        results_dir=folder,
        gene_analysis=False,
        variant_analysis=False,
        disease_analysis=True,
        threshold=None,
        score_order="descending",
    )
