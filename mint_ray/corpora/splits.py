"""Groups to splits: a pure function of the groups, the shares and the seed.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data"):
label by label, the rarest first, each group goes where its label is still wanted most. Groups stay whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import numpy as np

from mint_ray.records import Split

Unlabelled = Literal["train", "test", "both"]
NEEDED: tuple[Split, ...] = ("train", "test", "scorer")  # what every label should reach, the first first


def assign_splits(
    groups: Mapping[str, Sequence[str]],
    shares: Mapping[Split, float],
    seed: int,
    unlabelled: Unlabelled = "train",
) -> dict[str, Split]:
    """Give every group one split, so that each label's cases come out in the shares as far as groups allow.

    A label whose groups are its own and number two or more stands in train and in test (three or more: and in
    the scorer's share, where there is one); a label with one group is trained on, not tested. Groups whose cases have no label go where
    `unlabelled` says.

    Args:
        groups: group id to the labels of its cases, one entry a case; the order of neither matters.
        shares: split to its share of the cases; a share of 0 takes none.
        seed: fixes ties and the order of equal groups.
        unlabelled: `train`, where the scorer teaches from them, `test`, where they are answered, or `both`: in training and
            test, by their shares.
    """
    counts = {group: Counter(groups[group]) for group in _shuffled(groups, seed)}
    assigned = _Assignment(counts, {split: share for split, share in shares.items() if share > 0}).run()
    rest = [group for group, labels in counts.items() if not labels]
    trained = {"train": len(rest), "test": 0}.get(unlabelled)
    if trained is None:
        trained = round(len(rest) * shares["train"] / (shares["train"] + shares["test"]))
    where: dict[str, Split] = {group: "train" if at < trained else "test" for at, group in enumerate(rest)}
    return assigned | where


def _shuffled(groups: Mapping[str, Sequence[str]], seed: int) -> list[str]:
    names = sorted(groups)
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]


class _Assignment:
    """The state of one run: what every split still wants of every label."""

    def __init__(self, counts: dict[str, Counter], shares: dict[Split, float]):
        self.counts, self.splits = counts, list(shares)
        self.members: dict[str, list[str]] = {}
        totals: Counter[str] = Counter()
        for group, labels in counts.items():
            totals.update(labels)
            for label in labels:
                self.members.setdefault(label, []).append(group)
        self.wanted = {split: {label: share * n for label, n in totals.items()} for split, share in shares.items()}
        self.wanted_overall = {split: share * totals.total() for split, share in shares.items()}
        self.assigned: dict[str, Split] = {}

    def run(self) -> dict[str, Split]:
        for label in sorted(self.members, key=lambda name: (len(self.members[name]), name)):
            self._share_out(label)
        return self.assigned

    def _share_out(self, label: str) -> None:
        reached: set[Split] = {self.assigned[group] for group in self.members[label] if group in self.assigned}
        waiting = [group for group in self.members[label] if group not in self.assigned]
        waiting.sort(key=lambda group: -self.counts[group][label])  # stable: equal ones stay shuffled
        for position, group in enumerate(waiting):
            split = self._choose(label, reached, left=len(waiting) - position)
            reached.add(split)
            self._assign(group, split)

    def _choose(self, label: str, reached: set[Split], left: int) -> Split:
        """The split that wants the label most, among those that it must still reach with the groups left."""
        missing = cast(
            "list[Split]", [split for split in NEEDED if split in self.splits and split not in reached][:left]
        )
        options: list[Split] = missing if missing and left == len(missing) else self.splits
        return max(options, key=lambda split: (round(self.wanted[split][label], 9), self.wanted_overall[split]))

    def _assign(self, group: str, split: Split) -> None:
        self.assigned[group] = split
        for label, n in self.counts[group].items():
            self.wanted[split][label] -= n
            self.wanted_overall[split] -= n
