"""Rounds on a stand-in for training and asking: what each is made from, what is kept, and where it goes on."""

import json

import pyarrow as pa
import pytest

from mint_ray import rounds
from mint_ray.errors import RunError
from mint_ray.inference.store import answer_folder
from mint_ray.parquet import write_part
from mint_ray.preferences.store import pair_dataset, pair_schema
from mint_ray.records import Answer, Message, PreferencePair, Refusal, arrow_schema, sample_id, to_table
from mint_ray.runs import Run, StageReport, write_atomically
from tests.tiny_run import LABELS, NAMES, tiny_case, tiny_config, truth_first, write_cases, write_rankings

CASES = [tiny_case(number, split="train") for number in range(4)]
FIGURES = {"steps": 2, "pairs_seen": 4, "training_seconds": 1.5, "training_tokens": 10, "train_pairs": 4}


def names(*label_ids: str) -> list[str]:
    return [NAMES[label_id] for label_id in label_ids]


class Model:
    """Stands where a model is trained and asked: what it says to a case in each round, and a journal.

    Args:
        says: from a case to the answers that are sampled.
        stops_at: how many works are done before the process "is killed".
    """

    def __init__(self, says, stops_at=None):
        self.says, self.stops_at, self.journal = says, stops_at, []

    def _begin(self, what: str, run: Run) -> None:
        if len(self.journal) == self.stops_at:
            raise KeyboardInterrupt
        self.journal.append((what, run.dir.name))

    def align(self, run: Run) -> StageReport:
        self._begin("align", run)
        folder = run.stage("alignment").path
        write_atomically(folder / "adapter" / "adapter_config.json", json.dumps({"of": run.dir.name}))
        write_atomically(folder / "curve.jsonl", "".join(json.dumps({"step": s, "loss": 1.0}) + "\n" for s in (1, 2)))
        if run.config.alignment.start:
            write_atomically(folder / "start" / "config.json", json.dumps({"before": run.dir.name}))
        return StageReport(4, 4, {}, dict(FIGURES))

    def predict(self, run: Run) -> StageReport:
        self._begin("ask", run)
        rows = [
            Answer(
                case_id=sample_id(case.case_id, number),
                group_id=case.group_id,
                label_id=case.label_id,
                model="aligned",
                model_digest="1" * 16,
                text=text,
                finish_reason="stop",
                prompt_tokens=1,
                completion_tokens=1,
            )
            for case in CASES
            for number, text in enumerate(self.says(run.config.task, case))
        ]
        write_part(to_table(rows, Answer), answer_folder(run, "aligned") / "part-0.parquet")
        return StageReport(len(rows), len(rows), {}, {})


def good_and_bad(task, case) -> list[str]:
    """The truth first, twice; second; and nowhere, with a name that no label has."""
    first, second, third, *_ = truth_first(case.label_id)
    best = task.answer(names(first, second, third))
    return [best, task.answer(names(second, first, third)), task.answer(["A rare one", *names(second)]), best]


def line(folder, count=2, scorer_digest="0" * 16) -> Run:
    """A run up to its pairs; the scorer is surest of the truth."""
    settings = {"rounds": {"count": count, "samples": 4}, "model": "packaged:smollm2-135m-instruct"}
    run = Run(tiny_config(folder / "run", alignment=settings))
    write_cases(run, CASES)
    run.stage("scorer").begin()
    run.stage("scorer").finish(StageReport(), 1.0)
    write_rankings(run, {case.case_id: truth_first(case.label_id) for case in CASES}, CASES)
    task, schema = run.config.task, pair_schema(images=False)
    pairs = [
        PreferencePair(
            prompt=task.prompt(task.downstream_view(case)),
            chosen=[Message(role="assistant", content=task.answer(names(*truth_first(case.label_id)[:3])))],
            rejected=[Message(role="assistant", content=task.answer(names(*truth_first(case.label_id)[-2:])))],
            case_id=case.case_id,
            group_id=case.group_id,
            split="train",
            chosen_label_ids=truth_first(case.label_id)[:3],
            rejected_label_ids=truth_first(case.label_id)[-2:],
            chosen_scores=[0.0, -1.0, -2.0],
            rejected_scores=[-4.0, -5.0],
            scorer="tiny",
            scorer_digest=scorer_digest,
            policy="{}",
        ).model_dump(include=set(schema.names))
        for case in CASES
    ]
    part = run.stage("preferences").path / "pairs" / "train" / "part-00000.parquet"
    write_part(pa.Table.from_pylist(pairs, schema=schema), part)
    return run


def aligned(run: Run, model: Model, monkeypatch) -> StageReport:
    monkeypatch.setattr(rounds, "align_once", model.align)
    monkeypatch.setattr(rounds, "predict", model.predict)
    run.carry_out("alignment", rounds.align)
    return run.stage("alignment").told["figures"]


def test_a_round_learns_the_models_best_answer_against_its_worst(tmp_path, monkeypatch):
    run = line(tmp_path, count=1)
    aligned(run, Model(good_and_bad), monkeypatch)
    inner = Run(run.config.moved(rounds.folder_of(run, 1)))
    pairs = pair_dataset(inner, "train").to_list()
    assert [row["case_id"] for row in pairs] == [case.case_id for case in CASES]
    for row, case in zip(pairs, CASES, strict=True):
        said = good_and_bad(run.config.task, case)
        assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == (said[0], said[2])
        assert row["chosen_label_ids"] == truth_first(case.label_id)[:3]
        assert row["rejected_label_ids"] == truth_first(case.label_id)[1:2]  # what is no label's has no id
        grades = json.loads(row["policy"])["grades"]
        assert grades["chosen"] - grades["rejected"] > 0.05
    card = (rounds.folder_of(run, 1) / "preferences" / "README.md").read_text()
    assert "4 pairs; 0 cases" in card and "pairs/train/part-*.parquet" in card


def test_each_round_goes_on_from_the_one_before_and_the_last_is_kept(tmp_path, monkeypatch):
    run, model = line(tmp_path), Model(good_and_bad)
    figures = aligned(run, model, monkeypatch)
    assert model.journal == [("align", "0"), ("ask", "sampled"), ("align", "1"), ("ask", "sampled"), ("align", "2")]
    folder = run.stage("alignment").path
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text()) == {"of": "2"}
    assert json.loads((folder / "start" / "config.json").read_text()) == {"before": "2"}
    assert (figures["steps"], figures["pairs_seen"], len(figures["rounds"])) == (6, 12, 3)
    curve = [json.loads(row) for row in (folder / "curve.jsonl").read_text().splitlines()]
    assert [(row["step"], row["round"]) for row in curve] == [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2)]


@pytest.mark.parametrize("stops_at", range(5))
def test_a_killed_round_goes_on_and_does_nothing_twice(stops_at, tmp_path, monkeypatch):
    run, straight = line(tmp_path), Model(good_and_bad)
    first = Model(good_and_bad, stops_at)
    with pytest.raises(KeyboardInterrupt):
        aligned(run, first, monkeypatch)
    again = Model(good_and_bad)
    figures = aligned(Run(run.config), again, monkeypatch)
    whole = line(tmp_path / "whole")
    assert figures == aligned(whole, straight, monkeypatch)
    assert first.journal + again.journal == straight.journal


def test_answers_that_are_all_alike_leave_nothing_to_learn_and_the_round_ends(tmp_path, monkeypatch):
    run, model = line(tmp_path), Model(lambda task, case: good_and_bad(task, case)[:1])
    figures = aligned(run, model, monkeypatch)
    assert model.journal == [("align", "0"), ("ask", "sampled")]
    assert len(figures["rounds"]) == 1
    refused = pa.parquet.read_table(
        rounds.folder_of(run, 1) / "preferences" / "refused", schema=arrow_schema(Refusal)
    ).to_pylist()
    assert [(row["reason"], row["seen"]) for row in refused] == [("no-margin", "0 between 1 answers")] * 4


def test_rankings_of_another_scorer_than_the_pairs_are_refused(tmp_path, monkeypatch):
    run = line(tmp_path, scorer_digest="f" * 16)
    with pytest.raises(RunError, match=r"rankings come from the scorer 0{16}, .* pairs of f{16}"):
        aligned(run, Model(good_and_bad), monkeypatch)


def test_a_name_counts_as_its_labels_however_its_capitals_are_and_by_its_other_names(tmp_path):
    task = tiny_config(tmp_path / "run").task
    text = task.answer(["KABUKI syndrome 1", "Brachmann-de Lange syndrome", "Kabuki"])
    (graded,) = rounds.graded_answers([text, "  "], {"OMIM:1": 0.5, "OMIM:4": 0.5}, task, LABELS)
    assert graded.label_ids == ("OMIM:1", "OMIM:4", None)
