"""The arms: what each differs in, what they share, and that a comparison goes on where it was stopped."""

import json
import typing
from collections import Counter
from functools import partial

import pytest

from mint_ray.comparison import run as running
from mint_ray.comparison.arms import ARMS as EVERY
from mint_ray.comparison.arms import check_settings
from mint_ray.comparison.run import run_arms
from mint_ray.config import FirstArm
from mint_ray.errors import ConfigError, CorpusError
from mint_ray.parquet import write_part
from mint_ray.records import Case, to_table
from mint_ray.runs import Run, StageReport
from mint_ray.tasks.base import save_labels
from tests.tiny_run import LABELS, NAMES, tiny_case, tiny_config, truth_first, truth_second, write_answers

ARMS = {name: EVERY[name] for name in typing.get_args(FirstArm)}  # those that run where nothing is said
TRAINED = [name for name, arm in ARMS.items() if arm.trains]
SPLITS = ("train", "train", "validation", "test")
CASES = [tiny_case(i, split=SPLITS[i % 4]) for i in range(24)]
COST = {"steps": 3, "pairs_seen": 12, "training_seconds": 2.5, "training_tokens": 900}


class Line:
    """Stands where the stages' works are: each leaves what the next one reads, and a line in the journal.

    Args:
        stops_at: how many works are done before the process "is killed".
    """

    def __init__(self, cases: list[Case], stops_at: int | None = None):
        self.rows, self.stops_at, self.journal = cases, stops_at, []

    def works(self):
        stages = ("cases", "scorer", "rankings", "preferences", "alignment", "answers")
        return {stage: lambda stage=stage: partial(self.work, stage) for stage in stages}

    def work(self, stage: str, run: Run) -> StageReport:
        if len(self.journal) == self.stops_at:
            raise KeyboardInterrupt
        self.journal.append((stage, str(run.stage(stage).path)))
        return getattr(self, stage, lambda run: StageReport())(run)

    def cases(self, run: Run) -> StageReport:
        folder = run.stage("cases").path
        write_part(to_table(self.rows, Case), folder / "part-00000.parquet")
        save_labels(LABELS, folder / "labels.json")
        return StageReport(len(self.rows), len(self.rows))

    def alignment(self, run: Run) -> StageReport:
        (run.stage("alignment").path / "adapter").mkdir()
        return StageReport(figures=COST)

    def answers(self, run: Run) -> StageReport:
        """A model trained at 0.1 names the truth first, every other second."""
        (model,), task = run.config.inference.models, run.config.task
        asked = [case for case in self.rows if case.split == run.config.inference.split]
        names = names_truth_first if run.config.alignment.learning_rate == 0.1 else truth_second
        write_answers(run, model, {case.case_id: task.answer(names(case.label_id)) for case in asked}, asked)
        return StageReport(figures={model: {"prompt_tokens": 50 * len(asked), "completion_tokens": 30 * len(asked)}})


def names_truth_first(label_id: str) -> list[str]:
    return [NAMES[i] for i in truth_first(label_id)[:3]]


@pytest.fixture
def carried_out(tmp_path, monkeypatch):
    """A function that runs a comparison on a stand-in for the line: its run, the arms' runs, the journal."""

    def carry_out(cases=CASES, stops_at=None, **comparison):
        line = Line(cases, stops_at)
        monkeypatch.setattr(running, "works", line.works)
        alignment = {"model": "packaged:smollm2-135m-instruct", "beta": 0.2, "nll_scope": "sequence"}
        run = Run(tiny_config(tmp_path / "run", comparison=comparison, alignment=alignment))
        try:
            return run, run_arms(run), line.journal
        except KeyboardInterrupt:
            return run, None, line.journal

    return carry_out


def test_arms_share_what_they_do_not_differ_in(carried_out):
    run, done, journal = carried_out()
    assert list(done) == list(ARMS)
    for stage in ("cases", "scorer"):
        assert {each.stage(stage).path for each in done.values()} == {run.dir / stage}
    own_pairs = {name for name, each in done.items() if each.stage("preferences").path != run.dir / "preferences"}
    assert own_pairs == {"blinded", "shuffled"}
    assert Counter(stage for stage, _ in journal) == {
        **{"cases": 1, "scorer": 1, "rankings": 2, "preferences": 3},
        **{"alignment": len(TRAINED), "answers": len(ARMS)},
    }
    assert len({each.stage("answers").path for each in done.values()}) == len(ARMS)


def test_each_arm_is_the_configuration_that_its_name_says(carried_out):
    _, done, _ = carried_out(dpo_beta=0.05)
    settings = {name: each.config for name, each in done.items()}
    assert {name: c.inference.models for name, c in settings.items()} == {
        name: ["base"] if name in ("base", "rag") else ["aligned"] for name in ARMS
    }
    assert {name for name, c in settings.items() if c.inference.retrieval} == {"rag", "mint_rag"}
    assert {name: c.alignment.method for name, c in settings.items() if ARMS[name].trains} == {
        **{"sft": "sft", "dpo": "dpo", "sft_dpo": "dpo"},
        **dict.fromkeys(("mint", "blinded", "shuffled"), "orpo"),
    }
    assert (settings["mint"].alignment.beta, settings["dpo"].alignment.beta) == (0.2, 0.05)
    assert (settings["sft"].alignment.beta, settings["sft"].alignment.nll_scope) == (0.1, "answer")
    assert settings["sft_dpo"].alignment.start == done["sft"].stage("alignment").path / "adapter"
    assert done["mint_rag"].stage("alignment").path == done["mint"].stage("alignment").path
    assert settings["blinded"].rankings.scorer_sees == "downstream"
    assert settings["shuffled"].preferences.shuffled
    for config in settings.values():  # none is one that a user could not have written
        type(config.alignment).model_validate(config.alignment.model_dump())


def test_every_trained_arm_is_tried_at_the_same_points_and_takes_its_best(carried_out):
    run, done, journal = carried_out(learning_rates=[0.2, 0.1], epochs=[1, 2])
    for name in TRAINED:
        search = json.loads((run.dir / "arms" / name / "search.json").read_text())
        points = [(row["learning_rate"], row["epochs"]) for row in search["points"]]
        assert points == [(0.2, 1), (0.2, 2), (0.1, 1), (0.1, 2)]
        assert search["chosen"] == search["points"][2] | {"top": 1.0, "mrr": 1.0, "cases": 6}
        assert search["points"][0]["mrr"] == 0.5
        assert (done[name].config.alignment.learning_rate, done[name].config.alignment.epochs) == (0.1, 1)
        home = run.dir / "arms" / name / ("from/0.1-1" if name == "sft_dpo" else "")
        assert done[name].stage("alignment").path == home / "search" / "0.1-1" / "alignment"
        assert done[name].config.inference.split == "test"
    assert Counter(stage for stage, _ in journal)["preferences"] == 3
    assert done["mint_rag"].stage("alignment").path == done["mint"].stage("alignment").path
    assert done["sft_dpo"].config.alignment.start == done["sft"].stage("alignment").path / "adapter"


def test_a_wider_search_may_choose_another_point_and_trains_nothing_twice(carried_out):
    _, _, before = carried_out(learning_rates=[0.2])
    run, done, after = carried_out(learning_rates=[0.2, 0.1])
    assert not set(before) & set(after)
    for name in set(ARMS) - {"base", "rag"}:
        manifest = done[name].stage("answers").manifest
        assert manifest["settings"]["alignment"]["learning_rate"] == 0.1
        assert manifest["settings"]["inputs"]["alignment"] == done[name].stage("alignment").fingerprint
    assert done["sft_dpo"].config.alignment.start == run.dir / "arms/sft/search/0.1-1/alignment/adapter"
    assert carried_out(learning_rates=[0.2])[2] == []


def test_a_comparison_without_a_grid_tells_of_no_search_that_went_before(carried_out):
    carried_out(learning_rates=[0.2, 0.1])
    run, _, _ = carried_out(learning_rates=[0.2])
    costs = [json.loads((run.dir / "arms" / name / "cost.json").read_text()) for name in TRAINED]
    assert [cost["search_seconds"] for cost in costs] == [0.0] * len(TRAINED)
    assert not list(run.dir.glob("arms/*/search.json"))
    carried_out(learning_rates=[0.2, 0.1])
    assert len(list(run.dir.glob("arms/*/search.json"))) == len(TRAINED)


@pytest.mark.parametrize("stops_at", [1, 5, 11, 20, 33])
def test_a_comparison_that_was_stopped_goes_on_with_what_is_left(carried_out, stops_at):
    grid = {"learning_rates": [0.2, 0.1]}
    _, nothing, before = carried_out(stops_at=stops_at, **grid)
    assert nothing is None and len(before) == stops_at
    run, done, after = carried_out(**grid)
    assert list(done) == list(ARMS)
    assert not set(before) & set(after)
    costs = {name: json.loads((run.dir / "arms" / name / "cost.json").read_text()) for name in ARMS}
    assert carried_out(**grid)[2] == []
    assert {name: json.loads((run.dir / "arms" / name / "cost.json").read_text()) for name in ARMS} == costs


def test_the_cost_of_an_arm_counts_what_its_model_came_from(carried_out):
    run, _, _ = carried_out(learning_rates=[0.2, 0.1])
    costs = {name: json.loads((run.dir / "arms" / name / "cost.json").read_text()) for name in ARMS}
    assert costs["mint"]["trained"] == costs["mint_rag"]["trained"] == COST
    assert costs["sft_dpo"]["trained"] == {key: 2 * value for key, value in COST.items()}
    assert costs["base"]["trained"] == costs["rag"]["trained"] == dict.fromkeys(COST, 0)
    assert (costs["mint"]["search_seconds"], costs["base"]["search_seconds"]) == (5.0, 0.0)
    assert costs["rag"]["answers"]["completion_tokens"] == 30 * 6


def test_a_few_arms_alone_make_what_they_need_and_no_more(carried_out):
    _, done, journal = carried_out(arms=["base", "mint"])
    assert list(done) == ["base", "mint"]
    assert Counter(stage for stage, _ in journal) == {
        **{"cases": 1, "scorer": 1, "rankings": 1, "preferences": 1},
        **{"alignment": 1, "answers": 2},
    }


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_group_on_both_sides_of_the_split_is_refused_by_name(carried_out, split):
    leak = tiny_case(90, split=split, group_id=CASES[0].group_id)
    with pytest.raises(CorpusError, match=rf"case 'case-090' \(split {split}\) of group 'group-000'"):
        carried_out(cases=[*CASES, leak])


def test_a_search_that_nothing_could_judge_is_refused_before_it_trains(carried_out):
    unjudged = [case for case in CASES if case.split != "validation"]
    with pytest.raises(ConfigError, match=r"raise splits\.validation"):
        carried_out(cases=unjudged, learning_rates=[0.2, 0.1], stops_at=4)  # the first training would be the fourth
    assert carried_out(cases=unjudged)[1] is not None  # one point is not searched


def test_a_configuration_that_is_an_arm_already_is_refused_with_all_its_settings(tmp_path):
    alignment = {"model": "m", "method": "sft"}
    config = tiny_config(tmp_path, alignment=alignment, comparison={"arms": ["base", "mint_rag", "sft_dpo"]})
    with pytest.raises(ConfigError) as raised:
        check_settings(config)
    assert [problem.split(";")[0] for problem in raised.value.problems] == [
        "alignment.method is 'sft'",
        "comparison.arms has mint_rag, which needs mint: add mint, or leave mint_rag out",
        "comparison.arms has sft_dpo, which needs sft: add sft, or leave sft_dpo out",
    ]


def test_knowledge_that_is_not_there_is_told_where_an_arm_retrieves(tmp_path):
    comparison = {"retrieval": {"knowledge": str(tmp_path / "none.json")}}
    check_settings(tiny_config(tmp_path, comparison=comparison | {"arms": ["base", "mint"]}))
    with pytest.raises(ConfigError, match=r"comparison\.retrieval\.knowledge is .*none\.json: there is nothing"):
        check_settings(tiny_config(tmp_path, comparison=comparison | {"arms": ["base", "rag"]}))


FURTHER = ["mint", "sft_truth", "sft_best", "mint_rounds", "mint_listwise", "sft_all", "mint_all", "unlabelled"]


def test_further_arms_are_the_configurations_that_their_names_say(carried_out):
    run, done, _ = carried_out(arms=FURTHER, rounds={"count": 2, "samples": 4})
    settings = {name: each.config for name, each in done.items()}
    assert {name: (c.alignment.method, c.alignment.lora is None) for name, c in settings.items()} == {
        **{"mint": ("orpo", False), "sft_truth": ("sft", False), "sft_best": ("orpo", False)},
        **{"mint_rounds": ("orpo", False), "mint_listwise": ("listwise", False), "unlabelled": ("orpo", False)},
        **{"sft_all": ("sft", True), "mint_all": ("orpo", True)},
    }
    rounds = {name: c.alignment.rounds for name, c in settings.items() if c.alignment.rounds}
    assert {name: (r.method, r.count, r.samples) for name, r in rounds.items()} == {
        "sft_best": ("sft", 2, 4),
        "mint_rounds": ("orpo", 2, 4),
    }
    own_pairs = {name for name, each in done.items() if each.stage("preferences").path != run.dir / "preferences"}
    assert own_pairs == {"sft_truth", "unlabelled"}
    assert (settings["sft_truth"].preferences.truth, settings["sft_truth"].preferences.chosen) == ("alone", 1)
    assert settings["unlabelled"].preferences.truth == "ignored"
    for config in settings.values():
        type(config.alignment).model_validate(config.alignment.model_dump())


def test_rounds_go_on_from_the_point_that_was_chosen_for_mint_and_count_its_cost_once(carried_out):
    run, done, _ = carried_out(arms=["mint", "mint_rounds"], learning_rates=[0.2, 0.1])
    assert done["mint_rounds"].config.alignment.learning_rate == 0.1
    assert done["mint"] in done["mint_rounds"].lenders
    cost = json.loads((run.dir / "arms" / "mint_rounds" / "cost.json").read_text())
    assert cost["trained"] == COST  # as its own stage says, which has the first alignment in it
