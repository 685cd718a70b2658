import pytest

from mint_ray.evaluation.by_label import confusion, label_rows


def test_rows_are_truths_and_the_last_column_is_no_label():
    counts = confusion(["a", "a", "b", "b"], ["a", "b", None, "elsewhere"], ["a", "b"])
    assert counts.tolist() == [[1, 1, 0], [0, 0, 2]]


def test_a_truth_outside_of_the_labels_is_an_error():
    with pytest.raises(KeyError):
        confusion(["c"], ["a"], ["a", "b"])


def test_each_label_has_its_cases_and_its_shares():
    replies = {"1": ["a", "b"], "2": ["b", "a"], "3": ["a"], "4": [None, "b"]}
    rows = label_rows(replies, {"1": "a", "2": "a", "3": "b", "4": "b", "5": "b"})
    assert rows == [
        {"label_id": "a", "cases": 2, "top_1": 0.5, "named": 1.0},
        {"label_id": "b", "cases": 3, "top_1": 0.0, "named": pytest.approx(1 / 3)},
    ]
