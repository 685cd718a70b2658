"""docs/how_it_works.md shows one row of each boundary: its keys are those of today's records, and its values are valid."""

import json
import re

import pytest

from mint_ray.alignment.collation import EncodedPair
from mint_ray.evaluation.intervals import Interval
from mint_ray.records import Answer, Case, GradedAnswer, PreferencePair, Ranking
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "how_it_works.md").read_text()
ROWS = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
RECORDS = (Case, Ranking, PreferencePair, Answer, GradedAnswer)


def fields(record: type) -> list[str]:
    """The columns of a record; a pair of a task without images has none for them."""
    names = getattr(record, "model_fields", None) or getattr(record, "_fields", None) or record.__dataclass_fields__
    return [name for name in names if (record, name) != (PreferencePair, "images")]


def test_each_boundary_has_its_row_with_the_keys_of_today():
    boundaries = [Case, Ranking, PreferencePair, EncodedPair, Answer, GradedAnswer, Interval]
    assert [list(row) for row in ROWS] == [fields(record) for record in boundaries]


@pytest.mark.parametrize("record", RECORDS)
def test_a_row_is_one_that_the_record_takes(record):
    (row,) = [row for row in ROWS if list(row) == fields(record)]
    record.model_validate(row)


def test_the_rows_belong_to_each_other():
    case, ranking, pair, encoded, answer, verdict, _ = ROWS
    assert case["case_id"] == ranking["case_id"] == pair["case_id"] == encoded["case_id"]
    assert (
        pair["chosen_label_ids"] == ranking["label_ids"][:1] and pair["rejected_label_ids"] == ranking["label_ids"][-1:]
    )
    assert len(encoded["chosen"]) == 20 and len(encoded["rejected"]) == 21
    assert verdict | answer == verdict
    hidden = [finding["id"] for finding in case["phenotypes"] if finding["modality"] == "image"]
    assert pair["withheld"] == ["image", *hidden]
