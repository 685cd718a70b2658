"""What becomes of a batch that a model fails at: its cases are refused, or the model is broken and nothing is written."""

import math
import re

import pyarrow.parquet as pq
import pytest

from mint_ray.config import InferenceSection
from mint_ray.errors import ConfigError, ModelError
from mint_ray.inference.answering import AnswerEngine, Prompt, Said, Weights, bounded
from mint_ray.records import Case, to_table
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import RareDisease
from tests.tiny_run import tiny_case

TASK = RareDisease(kind="rare_disease", answer_size=3)


class Fragile(AnswerEngine):
    """Fails at cases whose ids end in `3`, and at all from its `breaks_at`th call on."""

    breaks_at = 10**9

    def load(self):
        self.calls = 0

    def prompt(self, case):
        return Prompt(self.task.downstream_view(case), "text", [1, 2], 2)

    def ask(self, cases, prompts):
        self.calls += 1
        if self.calls >= self.breaks_at or any(case.case_id.endswith("3") for case in cases):
            raise RuntimeError("CUDA error in the note of Jane Doe")
        return [Said(f"1. '{case.case_id}'", True, 2, 3) for case in cases]


@pytest.fixture
def engine(tmp_path):
    section = InferenceSection(max_tokens=64, max_model_len=256, retrieval=None)
    return Fragile("aligned", TASK, section, Weights(tmp_path, "d"), 0, tmp_path / "answers", tmp_path / "refused")


def rows(folder):
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_a_case_that_the_model_fails_at_alone_is_refused_without_its_text(engine):
    counts = engine(to_table([tiny_case(number) for number in range(5)], Case)).to_pylist()
    assert counts == [{"answered": 4, "refused": 1, "prompt_tokens": 8, "completion_tokens": 12}]
    assert [row["case_id"] for row in rows(engine.answers)] == ["case-000", "case-001", "case-002", "case-004"]
    assert rows(engine.answers)[3]["text"] == "1. 'case-004'"
    (refused,) = rows(engine.refused)
    assert (refused["case_id"], refused["reason"], refused["seen"]) == ("case-003", "not-answerable", "RuntimeError")
    assert "Jane" not in str(refused)


@pytest.mark.parametrize("breaks_at", [1, 2, 3, 7])
def test_a_model_that_breaks_refuses_no_case_and_writes_nothing_of_its_batch(engine, breaks_at):
    engine.breaks_at = breaks_at
    with pytest.raises(
        ModelError, match=r"the model 'aligned' is broken: .*RuntimeError at test_answering\.py"
    ) as raised:
        for first in (10, 0):
            engine(to_table([tiny_case(number) for number in range(first, first + 3 if first else 5)], Case))
        raise AssertionError
    assert "Jane" not in str(raised.value)
    assert not rows(engine.refused)
    assert len(rows(engine.answers)) == (0 if breaks_at == 1 else 3)


def test_a_last_case_that_fails_is_refused_where_the_batch_before_it_still_passes(engine):
    engine(to_table([tiny_case(1), tiny_case(2)], Case))
    engine(to_table([tiny_case(3)], Case))
    assert [row["case_id"] for row in rows(engine.refused)] == ["case-003"]


def words(text, add_special_tokens):
    return {"input_ids": re.findall(r"\w+|[^\w\s]", text)}


def test_an_answer_without_a_bound_of_its_own_may_be_a_quarter_longer_than_the_longest_that_labels_allow():
    labels = [Label(id=str(i), name=name) for i, name in enumerate(["one", "one two three", "one two", "one"])]
    task = TASK.model_copy(update={"answer_size": 2})
    longest = task.answer(["one two three", "one two"])
    bound = bounded(InferenceSection(), task, labels, words).max_tokens
    assert bound == math.ceil(1.25 * (len(words(longest, False)["input_ids"]) + 1))
    assert bounded(InferenceSection(max_tokens=3), task, labels, words).max_tokens == 3


def test_a_bound_that_leaves_no_token_for_a_prompt_is_refused():
    labels = [Label(id=str(i), name=f"{i} " + "many " * 40) for i in range(9)]
    with pytest.raises(ConfigError, match=r"inference\.max_model_len is 128, and an answer of 3 names may take"):
        bounded(InferenceSection(max_model_len=128), TASK.model_copy(update={"answer_size": 3}), labels, words)
