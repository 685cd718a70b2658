"""What a run ends with: three metrics as a chart with one sentence, or the table of all."""

import io

import pytest
from rich.console import Console

from mint_ray.evaluation.inputs import rules_of
from mint_ray.evaluation.metrics import catalogue
from mint_ray.reading import read_metrics
from mint_ray.reports.evaluate import evaluate
from mint_ray.reports.terminal import chart, charted, meaning, result_table
from tests.tiny_run import answered_run


def screen(shown, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    run = answered_run(tmp_path_factory.mktemp("run"))
    run.carry_out("evaluation", evaluate)
    return run


def test_the_table_tells_base_from_aligned(evaluated):
    rules = rules_of(evaluated.config)
    printed = screen(result_table(read_metrics(evaluated), catalogue(3, rules.depth, rules.tail)), 112)
    assert "12 cases in 12 groups" in printed
    (row,) = [line.split() for line in printed.splitlines() if line.startswith(" E2")]
    assert row == ["E2", "0.0", "(0–0)", "100.0", "(100–100)", "+100.0", "(100", "to", "100)", "100.0", "50.0", "58.3"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_chart_draws_every_metric_to_scale_within_the_width(evaluated, width):
    lines = screen(chart(read_metrics(evaluated), 3, width), width).splitlines()
    assert max(map(len, lines)) <= width
    at = lines.index("The right name is among the 3")
    base, aligned = lines[at + 1], lines[at + 2]
    assert base.startswith("  Base     ●·") and base.endswith("·  0.0 (0–0) %")
    assert aligned.startswith("  Aligned  ··") and aligned.endswith("·●  100.0 (100–100) %")


def test_answers_of_one_name_are_charted_in_the_singular_and_once():
    assert charted(1) == {"grounded_top_1": "The name is right", "valid_names": "Names that are on the list of labels"}


def test_the_chart_has_what_knowing_nothing_of_the_case_gives(evaluated):
    lines = [line.split() for line in chart(read_metrics(evaluated), 3, 80).plain.splitlines()]
    found = read_metrics(evaluated)["models"]["prior"]["grounded_top_1"]["value"]
    (first, *_) = [line for line in lines if line[:1] == ["Common"]]
    assert f"{100 * found:.1f}" in first


def test_a_terminal_that_knows_ascii_alone_gets_a_chart_of_that(evaluated):
    assert chart(read_metrics(evaluated), 3, 80, plain=True).plain.isascii()


def numbers(value: float, low: float | None, high: float | None) -> dict:
    return {"grounded_top_3": {"value": value, "low": low, "high": high}}


@pytest.mark.parametrize(
    ("gain", "over_prior", "said"),
    [
        (
            (0.2, 0.1, 0.3),
            (0.1, 0.05, 0.2),
            "more often than before (+20.0 points, 95 % interval 10 to 30), and more often than",
        ),
        ((0.2, 0.1, 0.3), (0.1, -0.05, 0.2), "but not clearly more often than the most frequent labels would be."),
        (
            (0.1, -0.1, 0.3),
            (0.1, 0.05, 0.2),
            "cannot be told from these cases (+10.0 points, 95 % interval −10 to 30).",
        ),
        ((-0.2, -0.3, -0.1), (0.1, 0.05, 0.2), "less often than before (−20.0 points, 95 % interval −30 to −10)."),
        ((0.2, None, None), (0.1, None, None), "nothing to compare it with."),
    ],
)
def test_the_sentence_says_no_more_than_the_intervals_do(gain, over_prior, said):
    summary = {"models": {}, "aligned_minus_base": numbers(*gain), "aligned_minus_prior": numbers(*over_prior)}
    assert said in meaning(summary, 3)


def test_with_one_model_there_is_nothing_to_compare():
    assert meaning({"models": {}, "aligned_minus_base": None, "aligned_minus_prior": None}, 3).startswith("One model")
