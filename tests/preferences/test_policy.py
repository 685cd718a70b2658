"""Ranking and policy, by examples worked out by hand and by properties over many rankings."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mint_ray.config import PreferencesSection
from mint_ray.parquet import read_table, write_part
from mint_ray.preferences.build import CODED
from mint_ray.preferences.policy import Preference, Skip, choose, margin
from mint_ray.rankings.ranking import Ranked, above, rank, rank_all, ranked_rows

# a is the best of ten labels, j the worst; scores 9, 8 ... 0.
TEN = Ranked(list("abcdefghij"), [float(s) for s in range(9, -1, -1)])


def settings(**changes) -> PreferencesSection:
    return PreferencesSection(**{"chosen": 3, "rejected": 5, "cut": 2} | changes)


def names(label, **changes) -> list[tuple[str, str]]:
    pairs = choose(TEN, label, settings(**changes))
    return [("".join(pair.chosen), "".join(pair.rejected)) for pair in pairs]


def test_many_cases_are_ranked_as_each_alone():
    random = np.random.default_rng(0)
    scores = random.integers(-5, 0, (50, 12)).astype(np.float32) / 3  # with many equal ones
    ids = [f"{i}" for i in random.permutation(12)]
    alone = [np.lexsort((np.array(ids), -row.astype(float))).tolist() for row in scores]
    assert [each.label_ids for each in rank_all(scores, ids)] == [[ids[i] for i in order] for order in alone]
    assert [each.scores for each in rank_all(scores, ids)] == [
        [float(row[i]) for i in order] for row, order in zip(scores, alone, strict=True)
    ]


def test_labels_stand_by_falling_score():
    assert rank([-3.0, -1.0, -2.0], ["x", "y", "z"]) == Ranked(["y", "z", "x"], [-1.0, -2.0, -3.0])


def test_equal_scores_stand_in_the_order_of_label_ids():
    assert rank([1.0, 2.0, 1.0, 2.0], ["d", "c", "b", "a"]).label_ids == ["a", "c", "b", "d"]


def test_chosen_are_the_top_in_order_and_rejected_the_lowest_first():
    assert choose(TEN, None, settings()) == [Preference(["a", "b", "c"], ["j", "i"], [9, 8, 7], [0, 1])]


def test_the_published_policy_names_ten_and_fifteen_of_the_lowest_fifty():
    labels = [f"{i:03d}" for i in range(528)]
    (pair,) = choose(Ranked(labels, [-float(i) for i in range(528)]), None, PreferencesSection())
    assert pair.chosen == labels[:10]
    assert pair.rejected == [f"{i}" for i in range(527, 512, -1)]


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [("as_ranked", "abc"), ("last", "abe"), ("first", "eab")],
)
def test_a_truth_that_is_not_chosen_is_placed_by_the_policy(policy, chosen):
    assert names("e", truth=policy) == [(chosen, "ji")]


def test_a_truth_that_is_not_chosen_can_skip_the_case():
    skip = choose(TEN, "e", settings(truth="skip"))
    assert (skip.reason, skip.seen, skip.expected) == ("truth-not-chosen", "rank 5", "rank 3 or better")


@pytest.mark.parametrize(
    ("policy", "chosen"), [("as_ranked", "abc"), ("last", "abc"), ("first", "bac"), ("skip", "abc")]
)
def test_a_chosen_truth_moves_only_where_it_always_stands_first(policy, chosen):
    assert names("b", truth=policy) == [(chosen, "ji")]


@pytest.mark.parametrize("policy", ["last", "first", "skip"])
def test_a_truth_that_the_scorer_does_not_rank_makes_no_pair_unless_its_word_is_left_alone(policy):
    assert choose(TEN, "z", settings(truth=policy)).reason == "truth-not-a-label"
    assert names("z", truth="as_ranked") == [("abc", "ji")]


def test_a_truth_among_the_lowest_is_not_rejected_and_nothing_moves_up_into_the_pool():
    assert names("j") == [("abc", "ih")]
    assert names("j", cut=5) == [("abc", "ihgf")]


def test_a_truth_put_among_the_chosen_leaves_the_pool():
    assert names("i", truth="last", cut=5) == [("abi", "jhgf")]


def test_further_pairs_take_the_next_names_of_the_pool():
    assert names(None, pairs_per_case=2) == [("abc", "ji"), ("abc", "hg")]


def test_pairs_below_the_margin_are_left_out():
    # chosen 9, 8, 7: mean 8; rejected 0, 1: mean 0.5; then 2, 3: mean 2.5
    assert [margin(pair) for pair in choose(TEN, None, settings(pairs_per_case=2))] == [7.5, 5.5]
    assert names(None, pairs_per_case=2, min_margin=6) == [("abc", "ji")]
    assert names(None, min_margin=7.5) == [("abc", "ji")]


def test_a_case_whose_every_pair_is_below_the_margin_is_skipped_with_the_widest():
    skip = choose(TEN, None, settings(pairs_per_case=2, min_margin=8))
    assert skip == Skip("margin-too-small", "min_margin", "7.5", "at least 8")


def test_a_case_with_nothing_below_the_chosen_is_skipped():
    four = Ranked(list("abcd"), [3.0, 2.0, 1.0, 0.0])
    assert choose(four, "d", settings(rejected=1, cut=1)).reason == "nothing-to-reject"


def of_scores(*scores: float) -> Ranked:
    return rank(scores, [f"{i:02d}" for i in range(len(scores))])


@pytest.mark.parametrize("truth", [None, "00", "05", "09"])
@pytest.mark.parametrize("policy", ["as_ranked", "last", "first", "skip"])
@pytest.mark.parametrize("chosen", [1, 3])
@pytest.mark.parametrize(
    "scores", [[0.1] * 10, [-6.2690964] * 5 + [-6.2690969] * 5], ids=["equal", "equal but for rounding"]
)
def test_scores_that_are_all_alike_make_no_pair_whatever_the_policy(scores, chosen, policy, truth):
    skip = choose(of_scores(*scores), truth, settings(chosen=chosen, truth=policy))
    assert (skip.reason, skip.field) == ("scores-alike", "scores")


@pytest.mark.parametrize(
    ("scores", "pairs"),
    [
        ([9, 8, 7, 1, 1, 1, 1, 1, 1, 1], 1),  # the rejected are tied among themselves
        ([9, 9, 9, 5, 4, 3, 2, 1, 0, 0], 1),  # the chosen are
        ([9, 8, 7, 7, 7, 3, 2, 2, 1, 1], 1),  # rank 3 is tied with rank 5, which is not rejected
        ([9, 8, 1, 1, 1, 1, 1, 1, 1, 1], 0),  # rank 3 is tied with the rejected: label ids decide which is which
        ([9, 1, 1, 1, 1, 1, 1, 1, 1, 1], 0),
        ([9, 9, 9, 9, 9, 9, 9, 9, 9, 0], 0),  # one of the two rejected is
    ],
)
def test_a_tie_between_chosen_and_rejected_makes_no_pair_and_others_do(scores, pairs):
    made = choose(of_scores(*scores), None, settings())
    assert (made.reason == "scores-tied") if not pairs else len(made) == pairs


def test_of_several_pairs_those_are_left_out_that_label_ids_would_have_decided():
    three = of_scores(9, 8, 7, 7, 7, 7, 7, 2, 1, 1)  # the pool: 05 to 09, two names a pair
    (pair,) = choose(three, None, settings(pairs_per_case=2))
    assert pair.rejected == ["09", "08"]


def test_a_truth_that_the_policy_places_need_not_score_above_the_rejected():
    ranking = of_scores(9, 8, 7, 6, 5, 4, 3, 1, 1, 1)
    for policy in ("last", "first"):
        (pair,) = choose(ranking, "09", settings(truth=policy))
        assert set(pair.chosen_scores) == {9, 8, 1}
        assert pair.rejected == ["08", "07"]
    (alone,) = choose(ranking, "09", settings(truth="first", chosen=1))
    assert (alone.chosen, alone.rejected) == (["09"], ["08", "07"])


@pytest.mark.parametrize(
    ("score", "other", "higher"),
    [(1e-9, 1e-10, True), (-6.25, -6.2500005, False), (-6.25, -6.26, True), (0.0, 0.0, False), (0.0, -1e-30, True)],
)
def test_a_score_is_above_another_by_more_than_float32_rounds(score, other, higher):
    assert above(score, other) == higher


@st.composite
def problems(draw):
    chosen, rejected = draw(st.integers(1, 6)), draw(st.integers(1, 10))
    labels = [f"L{i}" for i in range(chosen + rejected + draw(st.integers(0, 8)))]
    scores = draw(st.lists(st.sampled_from([-4.0, -3.0, -1.5, 0.0]), min_size=len(labels), max_size=len(labels)))
    truth = draw(st.none() | st.sampled_from(labels))
    cut = draw(st.integers(1, rejected))
    policy = settings(
        chosen=chosen,
        rejected=rejected,
        cut=cut,
        pairs_per_case=draw(st.integers(1, rejected // cut)),
        truth=draw(st.sampled_from(["as_ranked", "last", "first", "skip"])),
        min_margin=draw(st.sampled_from([0.0, 0.5])),
    )
    return dict(zip(labels, scores, strict=True)), truth, policy


@given(problems())
def test_every_pair_keeps_the_policy(problem):
    scores, truth, policy = problem
    pairs = choose(rank(list(scores.values()), list(scores)), truth, policy)
    if isinstance(pairs, Skip):
        return
    rejected = [label for pair in pairs for label in pair.rejected]
    assert 1 <= len(pairs) <= policy.pairs_per_case
    assert truth not in rejected
    assert len(set(rejected)) == len(rejected)
    worst_first = sorted(rejected, key=lambda label: (-scores[label], label), reverse=True)
    assert rejected == worst_first
    for pair in pairs:
        assert not set(pair.chosen) & set(pair.rejected)
        assert len(set(pair.chosen)) == len(pair.chosen) == policy.chosen
        assert 1 <= len(pair.rejected) <= policy.cut
        assert pair.chosen_scores == [scores[label] for label in pair.chosen]
        assert pair.rejected_scores == [scores[label] for label in pair.rejected]
        assert margin(pair) >= policy.min_margin
        by_score = [scores[i] for i in pair.chosen if i != truth or policy.truth in ("as_ranked", "skip")]
        assert all(chosen > rejected for chosen in by_score for rejected in pair.rejected_scores)


@given(problems())
def test_other_label_ids_change_no_decision_between_chosen_and_rejected(problem):
    """Renamed so that ties fall the other way round, a label that was chosen for its score is not rejected."""
    scores, _, policy = problem
    pairs = [choose(rank(list(scores.values()), ids), None, policy) for ids in (list(scores), turned(list(scores)))]
    if any(isinstance(made, Skip) for made in pairs):
        assert [type(made) for made in pairs] == [Skip, Skip] or policy.pairs_per_case > 1
        return
    back = dict(zip(turned(list(scores)), scores, strict=True))
    rejected = {back[i] for pair in pairs[1] for i in pair.rejected}
    assert not set(pairs[0][0].chosen) & rejected


def turned(ids: list[str]) -> list[str]:
    """Other ids in the opposite order of their names."""
    return [f"Z{len(ids) - i:03d}" for i, _ in enumerate(ids)]


@given(problems(), st.randoms())
def test_the_order_in_which_labels_come_changes_nothing(problem, random):
    scores, _, _ = problem
    shuffled = list(scores.items())
    random.shuffle(shuffled)
    assert rank([s for _, s in shuffled], [i for i, _ in shuffled]) == rank(list(scores.values()), list(scores))


def as_lists(rankings):
    return [Ranked(list(each.label_ids), list(each.scores)) for each in rankings]


def test_rankings_come_back_from_a_table_as_they_were_stored():
    lists = [["c", "a", "b"], ["a", "b", "c"], ["b", "a"]]
    scores = [[3.0, 2.5, -1.0], [0.5, 0.25, 0.0], [2.0, 1.0]]
    table = pa.table({"label_ids": lists, "scores": scores})
    expected = [Ranked(*row) for row in zip(lists, scores, strict=True)]
    assert as_lists(ranked_rows(table)) == expected
    assert as_lists(ranked_rows(table.slice(1))) == expected[1:]
    assert as_lists(ranked_rows(table.slice(3))) == []


def test_a_stored_ranking_is_asked_as_a_list_is():
    (ranked,) = ranked_rows(pa.table({"label_ids": [["c", "a", "b"]], "scores": [[3.0, 2.5, -1.0]]}))
    for asked, listed in ((ranked.label_ids, ["c", "a", "b"]), (ranked.scores, [3.0, 2.5, -1.0])):
        assert [asked[0], asked[-1], asked[1]] == [listed[0], listed[-1], listed[1]] and len(asked) == 3
        assert asked[-2:] == listed[-2:] and asked[:9] == listed and type(asked[-1]) is type(listed[-1])
        assert asked.index(listed[1]) == 1 and listed[2] in asked and "z" not in asked
        with pytest.raises(IndexError):
            asked[3]


def test_rankings_whose_ids_are_read_as_codes_are_the_same(tmp_path):
    rows = {"label_ids": [["c", "a"], ["a", "c", "b"]], "scores": [[3.0, 2.5], [0.5, 0.25, 0.0]]}
    table = pa.table(rows)
    write_part(table, tmp_path / "part-0.parquet")
    coded = read_table(tmp_path / "part-0.parquet", coded=[CODED])
    assert pa.types.is_dictionary(coded["label_ids"].type.value_type)
    assert as_lists(ranked_rows(coded)) == as_lists(ranked_rows(table))


def test_the_truth_alone_is_chosen_whatever_its_rank_and_a_case_without_makes_no_pair():
    assert names("e", truth="alone", chosen=1) == [("e", "ji")]
    assert names("j", truth="alone", chosen=1) == [("j", "ih")]
    assert choose(TEN, None, settings(truth="alone", chosen=1)).reason == "truth-not-known"
    assert choose(TEN, "z", settings(truth="alone", chosen=1)).reason == "truth-not-a-label"


@pytest.mark.parametrize("label", ["a", "e", "j", "z", None])
def test_a_truth_that_is_ignored_changes_nothing(label):
    assert names(label, truth="ignored") == names(None)
