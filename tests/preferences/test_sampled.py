"""Grades of sampled answers, computed by hand, and which two make a pair."""

import pytest

from mint_ray.preferences.sampled import FAULT, Graded, best_and_worst, grade, probabilities

P = {"A": 0.6, "B": 0.3, "C": 0.1}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["A", "B", "C"], 0.6 + 0.3 / 2 + 0.1 / 3),
        (["C", "B", "A"], 0.1 + 0.3 / 2 + 0.6 / 3),
        (["A", "A", "B"], 0.6 - FAULT + 0.3 / 3),
        ([None, "A", "B"], -FAULT + 0.6 / 2 + 0.3 / 3),
        (["A"], 0.6 - 2 * FAULT),
        (["A", "B", "C", "D"], 0.6 + 0.3 / 2 + 0.1 / 3),
        ([], -3 * FAULT),
    ],
)
def test_a_grade_is_the_expected_reciprocal_rank_less_its_faults(named, expected):
    assert grade(named, P, 3) == pytest.approx(expected)


def test_scores_are_probabilities_whatever_constant_they_lack():
    for shift in (0.0, -900.0, 900.0):
        found = probabilities(["A", "B"], [shift + 1.0, shift])
        assert found == pytest.approx({"A": 0.7310586, "B": 0.2689414})


def answer(text: str, value: float) -> Graded:
    return Graded(text, (text,), value)


def test_the_best_is_chosen_and_the_worst_rejected_in_whatever_order_they_were_sampled():
    answers = [answer("mid", 0.4), answer("worst", 0.1), answer("best", 0.9)]
    for order in (answers, answers[::-1]):
        best, worst = best_and_worst(order, 0.05)
        assert (best.text, worst.text) == ("best", "worst")


def test_equals_are_told_apart_by_their_text_and_answers_too_close_make_no_pair():
    equals = [answer("b", 0.5), answer("a", 0.5), answer("z", 0.0)]
    assert best_and_worst(equals, 0.1)[0].text == best_and_worst(equals[::-1], 0.1)[0].text == "a"
    assert best_and_worst(equals[:2], 0.1) is None
    assert best_and_worst([answer("a", 0.5), answer("b", 0.3)], 0.21) is None
