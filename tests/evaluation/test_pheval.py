"""What PhEval reads: checked here by its columns, and by PhEval itself where it is installed."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mint_ray.evaluation.evaluate import evaluate
from mint_ray.evaluation.pheval import Ranked, file_name, in_order, result_table
from tests.tiny_run import answered_run


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    run = answered_run(tmp_path_factory.mktemp("run"))
    evaluate(run)
    return run.stage("evaluation").path / "pheval"


def test_every_model_has_one_file_a_case(results):
    assert sorted(folder.name for folder in results.iterdir()) == ["aligned", "base", "scorer"]
    for model in ("aligned", "base", "scorer"):
        files = sorted((results / model / "pheval_disease_results").iterdir())
        assert [file.name for file in files] == [f"case-{i:03}-disease_result.parquet" for i in range(12)]


def test_the_columns_are_those_of_pheval(results):
    table = pq.read_table(results / "scorer" / "pheval_disease_results" / "case-001-disease_result.parquet")
    columns = [("rank", pa.int64()), ("score", pa.float64()), ("disease_identifier", pa.string())]
    columns += [("mondo_identifier", pa.string()), ("true_positive", pa.bool_())]
    assert table.schema.equals(pa.schema(columns))
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
    assert table.column_names == ["rank", "score", "gene_symbol", "gene_identifier", "true_positive"]
    assert table.to_pylist() == [
        {"rank": 1, "score": 1.0, "gene_symbol": "BRCA1", "gene_identifier": "HGNC:1100", "true_positive": True}
    ]


def test_a_case_cannot_leave_its_folder():
    assert file_name("../a b/c", "gene") == ".._a_b_c-gene_result.parquet"


def test_pheval_reads_them_and_counts_as_we_do(results):
    """The aligned model names every truth second, the base model none, the scorer every truth first."""
    pytest.importorskip(
        "pheval", reason="PhEval is not installed here: pip install pheval, in an environment of its own"
    )
    from pheval.analyse.benchmark import scan_directory
    from pheval.analyse.benchmark_output_type import BenchmarkOutputTypeEnum
    from pheval.analyse.rank_stats import compute_rank_stats
    from pheval.analyse.run_data_parser import RunConfig

    for model, top_1, top_3, mrr in [("aligned", 0, 12, 0.5), ("base", 0, 0, 0), ("scorer", 12, 12, 1)]:
        run = RunConfig(
            run_identifier=model,
            phenopacket_dir=results,
            results_dir=results / model,
            gene_analysis=False,
            variant_analysis=False,
            disease_analysis=True,
            threshold=None,
            score_order="descending",
        )
        stats = (
            compute_rank_stats(model, scan_directory(run, BenchmarkOutputTypeEnum.DISEASE.value))
            .collect()
            .to_dicts()[0]
        )
        assert (stats["number_of_samples"], stats["top1"], stats["top3"]) == (12, top_1, top_3)
        assert stats["mrr"] == pytest.approx(mrr)
