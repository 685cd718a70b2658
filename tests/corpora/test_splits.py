from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from mint_ray.corpora.splits import assign_splits

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
LABELS = st.lists(st.sampled_from("abcdef"), max_size=4)
GROUPS = st.dictionaries(st.text("xyz0123456789", min_size=1, max_size=6), LABELS, min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(GROUPS, st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_splits_depend_on_seed_and_content_alone(groups, seed, random):
    other = [(group, random.sample(labels, len(labels))) for group, labels in groups.items()]
    random.shuffle(other)
    splits = assign_splits(groups, SHARES, seed)
    assert splits == assign_splits(dict(other), SHARES, seed)
    assert set(splits) == set(groups)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text("xyz0123456789", min_size=1), st.sampled_from("abcd"), min_size=1), st.integers(0, 99))
def test_a_label_is_tested_where_it_has_two_groups_and_trained_on_always(label_of, seed):
    splits = assign_splits({group: [label] for group, label in label_of.items()}, SHARES, seed)
    reached = defaultdict(set)
    for group, label in label_of.items():
        reached[label].add(splits[group])
    for label, groups in Counter(label_of.values()).items():
        assert "train" in reached[label]
        assert ("test" in reached[label]) == (groups >= 2)


def test_the_scorers_share_reaches_every_label_with_three_groups():
    groups = {f"{label}{i}": [label] for label, size in [("a", 2), ("b", 3), ("c", 20)] for i in range(size)}
    splits = assign_splits(groups, {"scorer": 0.1, "train": 0.7, "validation": 0.0, "test": 0.2}, 0)
    reached = {label: Counter(splits[g] for g in groups if g[0] == label) for label in "abc"}
    assert reached["a"] == {"train": 1, "test": 1}
    assert reached["b"] == {"train": 1, "test": 1, "scorer": 1}
    assert reached["c"] == {"train": 14, "test": 4, "scorer": 2}


def test_equal_groups_come_out_in_the_shares_label_by_label():
    groups = {f"{label}{i}": [label] * size for label, size in [("a", 1), ("b", 3)] for i in range(20)}
    splits = assign_splits(groups, SHARES, 0)
    for label in "ab":
        assert Counter(splits[g] for g in groups if g[0] == label) == {"train": 14, "validation": 2, "test": 4}


def test_a_group_with_most_of_a_labels_cases_is_trained_on():
    groups = {"large": ["a"] * 90, **{f"small{i}": ["a"] for i in range(10)}}
    splits = assign_splits(groups, SHARES, 5)
    assert splits["large"] == "train"
    assert {splits[f"small{i}"] for i in range(10)} == {"test"}  # it alone wants the label still more than they have


def test_another_seed_gives_another_split():
    groups = {f"g{i}": ["a"] for i in range(20)}
    assert assign_splits(groups, SHARES, 1) != assign_splits(groups, SHARES, 2)


def test_groups_without_a_label_are_for_training():
    assert assign_splits({"g": []}, SHARES, 1) == {"g": "train"}


def test_a_share_of_nothing_gets_nothing():
    groups = {f"g{i}": ["a"] for i in range(10)}
    splits = assign_splits(groups, {"train": 0.5, "validation": 0.0, "test": 0.5}, 1)
    assert Counter(splits.values()) == {"train": 5, "test": 5}


def test_groups_without_a_label_go_where_the_setting_says_and_labelled_ones_do_not_move():
    groups = {f"known{i}": ["a"] for i in range(10)} | {f"unknown{i}": [] for i in range(90)}
    found = {where: assign_splits(groups, SHARES, 0, where) for where in ("train", "test", "both")}
    counted = {
        where: Counter(split for group, split in splits.items() if group.startswith("u"))
        for where, splits in found.items()
    }
    assert counted == {"train": {"train": 90}, "test": {"test": 90}, "both": {"train": 70, "test": 20}}
    assert len({tuple(sorted((g, s) for g, s in splits.items() if g[0] == "k")) for splits in found.values()}) == 1
