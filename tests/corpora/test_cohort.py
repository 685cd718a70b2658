import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mint_ray.config import SplitsSection
from mint_ray.corpora.cohort import Member, choose_cohort, grouped, under_one_id
from mint_ray.tasks.base import Label

ANY = SplitsSection()


def members(*rows: tuple) -> dict[int, Member]:
    return {i: Member(*row) for i, row in enumerate(rows)}


def reasons(cohort) -> dict[int, str]:
    return {i: error.reason for i, error in cohort.faults.items()}


def test_the_second_case_of_an_id_is_refused():
    cohort = choose_cohort(members(("a", "g1"), ("b", "g2"), ("a", "g3"), ("a", "g4")), None, ANY, 0)
    assert reasons(cohort) == {2: "duplicate-case-id", 3: "duplicate-case-id"}
    assert set(cohort.splits) == {0, 1}


def test_a_label_outside_the_corpus_list_is_refused_and_the_list_stays_whole():
    listed = [Label(id="L2", name="two"), Label(id="L1", name="one")]
    cohort = choose_cohort(members(("a", "g1", None, "L1"), ("b", "g2", None, "L9"), ("c", "g3")), listed, ANY, 0)
    assert reasons(cohort) == {1: "label-outside-list"}
    assert cohort.labels == listed


def test_a_rare_label_is_refused_with_its_cases_and_leaves_the_list():
    rows = members(("a", "g1", None, "L1"), ("b", "g1", None, "L1"), ("c", "g2", None, "L2"), ("d", "g3", None, "L2"))
    by_groups = choose_cohort(rows, None, SplitsSection(min_groups_per_label=2), 0)
    assert reasons(by_groups) == {0: "label-too-rare", 1: "label-too-rare"}
    assert [label.id for label in by_groups.labels] == ["L2"]
    assert not choose_cohort(rows, None, SplitsSection(min_cases_per_label=2), 0).faults


def test_a_duplicate_does_not_help_a_label_over_the_bar():
    rows = members(("a", "g1", None, "L1"), ("a", "g2", None, "L1"))
    cohort = choose_cohort(rows, None, SplitsSection(min_cases_per_label=2), 0)
    assert reasons(cohort) == {0: "label-too-rare", 1: "duplicate-case-id"}


def test_the_sources_own_splits_win():
    rows = members(*((f"c{i}", f"g{i}", "test" if i % 2 else "train", "L") for i in range(10)))
    assert choose_cohort(rows, None, ANY, 0).splits == {i: "test" if i % 2 else "train" for i in range(10)}


def test_what_the_source_holds_out_of_a_group_is_not_trained_on():
    rows = members(("a", "g", "train", "L"), ("b", "g", "test", "L"), ("c", "g", None, "L"), ("d", "h", "train", "L"))
    cohort = choose_cohort(rows, None, ANY, 0)
    assert reasons(cohort) == {0: "group-held-out"}
    assert cohort.splits == {1: "test", 2: "test", 3: "train"}


def test_a_case_without_a_label_is_kept_for_training_and_with_its_group():
    rows = members(("a", "alone"), *((f"c{i}", f"g{i}", None, "L") for i in range(10)), ("b", "g3"))
    splits = choose_cohort(rows, None, ANY, 0).splits
    assert splits[0] == "train"
    assert splits[11] == splits[4]


def test_labels_of_one_gene_are_one_before_they_are_counted_and_keep_all_their_names():
    rows = members(
        ("a", "g1", None, "ENSG00000137474", "myo7a", ("MYO7A", "USH1B")),
        ("b", "g2", None, "HGNC:7606", "MYO7A"),
        ("c", "g3", None, "HGNC:1", "A1BG"),
        ("d", "g4"),
    )
    changed, merged = under_one_id(rows, None)
    assert [(m.label_id, m.label_name) for m in changed.values()] == [
        *[("HGNC:7606", "MYO7A")] * 2,
        ("HGNC:1", "A1BG"),
        (None, None),
    ]
    assert merged == {"ENSG00000137474": {"into": "HGNC:7606", "cases": 1}}
    cohort = choose_cohort(changed, None, SplitsSection(min_groups_per_label=2), 0)
    assert cohort.labels == [Label(id="HGNC:7606", name="MYO7A", synonyms=("USH1B", "myo7a"))]


def test_a_case_joins_the_label_of_the_list_whose_other_id_it_carries():
    rows = members(("a", "g1", None, "ENSG00000137474", "MYO7A"), ("b", "g2", None, "HGNC:1", "x"))
    listed = [Label(id="HGNC:7606", name="MYO7A")]
    changed, _ = under_one_id(rows, listed)
    assert reasons(choose_cohort(changed, listed, ANY, 0)) == {1: "label-outside-list"}


CASES = st.lists(
    st.tuples(
        st.integers(0, 30).map(str),
        st.integers(0, 12).map(str),
        st.sampled_from([None, None, "train", "validation", "test"]),
        st.sampled_from([None, "A", "B", "C"]),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(CASES, st.integers(1, 3), st.integers(0, 9))
def test_every_row_is_kept_or_refused_and_no_group_stands_in_two_splits(rows, least, seed):
    found = members(*rows)
    cohort = choose_cohort(found, None, SplitsSection(min_groups_per_label=least), seed)
    assert sorted([*cohort.splits, *cohort.faults]) == sorted(found)
    splits: dict[str, str] = {}
    for i, split in cohort.splits.items():
        assert splits.setdefault(found[i].group_id, split) == split


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_are_those_of_the_kept_cases_in_the_order_of_their_ids(seed):
    rows = members(("a", "g1", None, "L2", "two"), ("b", "g2", None, "L1", "one"), ("c", "g3", None, "L2", "deux"))
    assert choose_cohort(rows, None, ANY, seed).labels == [
        Label(id="L1", name="one"),
        Label(id="L2", name="two", synonyms=("deux",)),
    ]


def test_patients_of_one_publication_are_grouped_before_they_are_split():
    rows = {
        i: Member(f"c{i}", f"own {i:02}", None, f"L{i % 2}", publications=[[f"PMID:{i // 4}", f"DOI:10.1000/{i // 8}"]])
        for i in range(40)
    }
    joined = grouped(rows)
    assert [m.group_id for m in joined.values()] == [f"own {i // 8 * 8:02}" for i in range(40)]
    assert [m._replace(group_id="") for m in joined.values()] == [m._replace(group_id="") for m in rows.values()]
    splits = choose_cohort(joined, None, ANY, 0).splits
    assert all(splits[i] == splits[i // 8 * 8] for i in range(40))


def test_all_names_that_cases_give_a_label_are_kept():
    rows = {
        0: Member("a", "g1", None, "L1", "one", ("uno",)),
        1: Member("b", "g2", None, "L1", "eins", ("uno", "un")),
        2: Member("c", "g3", None, "L2"),
        3: Member("d", "g4"),
    }
    assert choose_cohort(rows, None, ANY, 0).labels == [
        Label(id="L1", name="one", synonyms=("uno", "eins", "un")),
        Label(id="L2", name="L2"),
    ]
