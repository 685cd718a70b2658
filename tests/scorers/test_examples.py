"""Cases as training examples: every case of the splits is one, or is counted with its reason."""

import pyarrow as pa
import pytest

from mint_ray.errors import ModelError
from mint_ray.records import Case, to_table
from mint_ray.scorers.clip.fitting import captioned
from mint_ray.scorers.clip.fitting import starting_point as clip_start
from mint_ray.scorers.fitting.examples import EXAMPLES, Encoded, encode_cases, from_row
from mint_ray.scorers.vilt.fitting import starting_point
from mint_ray.tasks.rare_disease import RareDisease
from mint_ray.tasks.tissue import Tissue
from tests.scorers.test_clip_scorer import tiny_clip
from tests.scorers.tiny import LABELS, coloured_case, picture, tiny_section, tiny_vilt

INDEX = {label.id: i for i, label in enumerate(LABELS)}
TASK = RareDisease(kind="rare_disease")
BROKEN = picture((0, 0, 0))[:-300]


def encoded(cases, inputs, splits=("train",), view_of=TASK.scorer_view) -> pa.Table:
    return encode_cases(to_table(cases, Case), list(splits), view_of, inputs, INDEX)


def test_a_case_that_can_be_no_example_is_counted_with_its_reason_and_the_others_are_examples():
    cases = [
        coloured_case(0, "train"),
        coloured_case(1, "train", image=BROKEN),
        coloured_case(2, "train", image=b"none"),
        coloured_case(3, "train", label_id=None),
        coloured_case(4, "train", label_id="OMIM:999"),
        coloured_case(5, "train", image=None, phenotypes=[], sex=None),
        coloured_case(6, "validation"),
        coloured_case(7, "train", image=None, text="word " * 30),
    ]
    table = encoded(cases, tiny_vilt()[1])
    assert table.schema == EXAMPLES
    assert table["case_id"].to_pylist() == [case.case_id for case in cases if case.split == "train"]
    reasons = [None, "truncated-image", "not-an-image", "no-label", "no-label", "nothing-to-see", None]
    assert table["refused"].to_pylist() == reasons
    first, last = (from_row(row) for row in table.to_pylist() if not row["refused"])
    assert (first.label, first.pixels.shape, first.has_text) == (0, (3, 32, 32), True)
    assert (last.label, last.pixels, len(last.input_ids)) == (1, None, 24)
    account = Encoded()
    account.add(table)
    assert account.usable == 2
    assert account.figures == {
        "text_cut": {
            "cases": 1,
            "tokens": len(tiny_vilt()[1].tokenizer("Sex female Hypotonia " + "word " * 30)["input_ids"]) - 24,
        },
        "refused": {"truncated-image": 1, "not-an-image": 1, "no-label": 2, "nothing-to-see": 1},
    }


def test_no_case_of_a_split_makes_no_row():
    assert encoded([coloured_case(0, "test")], tiny_vilt()[1]).num_rows == 0


def test_a_clip_has_no_example_of_a_case_without_an_image():
    inputs = clip_start(tiny_clip(), [], LABELS)[1]
    task = Tissue(kind="tissue")
    cases = [coloured_case(0, "train", text="a caption"), coloured_case(1, "train", image=None, text="a caption")]
    table = encoded(cases, inputs, view_of=lambda case: captioned(case, task))
    assert table["refused"].to_pylist() == [None, "nothing-to-see"]


def test_a_processor_that_fails_at_every_case_is_no_fault_of_the_cases():
    class Broken:
        def example(self, view):
            raise RuntimeError("no such operator")

    with pytest.raises(ModelError, match="the scorer's processor is broken"):
        encoded([coloured_case(0, "train"), coloured_case(1, "train")], Broken())


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_a_corpus_without_words_still_makes_a_tokenizer_that_reads_any(texts):
    _, inputs = starting_point(tiny_section(), texts, LABELS)
    ((ids, _),) = inputs.ids(["ptosis"])
    assert inputs.tokenizer.unk_token_id not in ids and len(ids) > 2
