"""Which cases of a corpus a run takes, and in which split each stands: pure policy over the small columns.

What is refused here, by reason:

| reason               | when                                                                                |
|----------------------|-------------------------------------------------------------------------------------|
| `duplicate-case-id`  | a case before it has the same id                                                    |
| `label-outside-list` | the corpus has a label list of its own, and the label is not in it                  |
| `label-too-rare`     | the label has fewer cases or groups than `splits.min_..._per_label`                 |
| `group-held-out`     | the source's own splits hold out other cases of its group (to train on it would leak) |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

from mint_ray.config import SplitsSection
from mint_ray.corpora.label_ids import one_id_each
from mint_ray.corpora.names import gathered
from mint_ray.corpora.publications import Grouped, groups_of
from mint_ray.corpora.splits import assign_splits
from mint_ray.errors import RowError
from mint_ray.records import Split
from mint_ray.tasks.base import Label

_HELD_OUT_FIRST = ("test", "validation", "train", "scorer")


class Member(NamedTuple):
    """The small columns of a case."""

    case_id: str
    group_id: str
    split: Split | None = None
    label_id: str | None = None
    label_name: str | None = None
    label_synonyms: Sequence[str] = ()
    publications: Sequence[Sequence[str]] = ()


def grouped(members: dict[int, Member]) -> dict[int, Member]:
    """The members, patients of one publication in one group whichever of its ids each of them names."""
    groups = groups_of({i: Grouped(m.group_id, m.publications) for i, m in members.items()})
    return {i: m._replace(group_id=groups[i]) for i, m in members.items()}


def under_one_id(
    members: dict[int, Member], listed: list[Label] | None
) -> tuple[dict[int, Member], dict[str, dict[str, Any]]]:
    """The members, each under the one label id of its gene or disease; and by the ids that gave way, what they became.

    Args:
        listed: the corpus's own label list, whose ids stay; None: there is none.
    """
    names: dict[str, dict[str, None]] = {label.id: {label.name: None} for label in listed or ()}
    for m in members.values():
        if m.label_id is not None:
            names.setdefault(m.label_id, {}).update(dict.fromkeys([m.label_name or m.label_id, *m.label_synonyms]))
    chosen = one_id_each(names, {label.id for label in listed or ()})
    cases = Counter(m.label_id for m in members.values())
    called = {old: next(iter(names.get(new, names[old]))) for old, new in chosen.items()}
    changed = {
        i: _renamed(m, chosen[m.label_id], called[m.label_id]) for i, m in members.items() if m.label_id in chosen
    }
    return members | changed, {
        old: {"into": new, "cases": cases[old]} for old, new in sorted(chosen.items()) if cases[old]
    }


def _renamed(member: Member, label_id: str, name: str) -> Member:
    """The member under another label, whose synonym its own name becomes."""
    others = [*member.label_synonyms, *([member.label_name] if member.label_name else [])]
    return member._replace(label_id=label_id, label_name=name, label_synonyms=others)


@dataclass
class Cohort:
    """Rows by their position in the corpus: the split of each that stays, the fault of each that does not."""

    labels: list[Label]
    splits: dict[int, Split] = field(default_factory=dict)
    faults: dict[int, RowError] = field(default_factory=dict)


def choose_cohort(members: dict[int, Member], listed: list[Label] | None, settings: SplitsSection, seed: int) -> Cohort:
    """Decide about every member, in the order of positions, which must be the source's.

    Args:
        listed: the corpus's own label list; None: the labels that the cases carry, sorted by id.
    """
    faults = duplicates(members)
    if listed is not None:
        faults |= _strangers(_without(members, faults), {label.id for label in listed})
    rare = _too_rare(_without(members, faults), settings)
    faults |= {i: rare[m.label_id] for i, m in _without(members, faults).items() if m.label_id in rare}
    splits, held_out = _split(_without(members, faults), settings, seed)
    kept: dict[int, Split] = {i: split for i, split in splits.items() if i not in held_out}
    seen = (members[i] for i in sorted(kept))
    labels = _seen_labels(seen) if listed is None else [label for label in listed if label.id not in rare]
    return Cohort(labels, kept, faults | held_out)


def _without(members: dict[int, Member], faults: dict[int, RowError]) -> dict[int, Member]:
    return {i: member for i, member in members.items() if i not in faults}


def duplicates(members: dict[int, Member]) -> dict[int, RowError]:
    first: dict[str, int] = {}
    again = [i for i in sorted(members) if first.setdefault(members[i].case_id, i) != i]
    return {
        i: RowError("duplicate-case-id", "case_id", "an id that a case before has", "one case an id") for i in again
    }


def _strangers(members: dict[int, Member], known: set[str]) -> dict[int, RowError]:
    return {
        i: RowError("label-outside-list", "label_id", m.label_id, f"one of the list's {len(known)} labels")
        for i, m in members.items()
        if m.label_id is not None and m.label_id not in known
    }


def _too_rare(members: dict[int, Member], settings: SplitsSection) -> dict[str, RowError]:
    """The labels that are too rare, each with what to say of it."""
    cases = Counter(m.label_id for m in members.values() if m.label_id is not None)
    groups = Counter(label for label, _ in {(m.label_id, m.group_id) for m in members.values()})
    least_cases, least_groups = settings.min_cases_per_label, settings.min_groups_per_label
    expected = (
        f"{least_cases} cases and {least_groups} groups or more (splits.min_cases_per_label, min_groups_per_label)"
    )
    return {
        label: RowError("label-too-rare", "label_id", f"{label}: {n} cases, {groups[label]} groups", expected)
        for label, n in cases.items()
        if n < least_cases or groups[label] < least_groups
    }


def _split(
    members: dict[int, Member], settings: SplitsSection, seed: int
) -> tuple[dict[int, Split], dict[int, RowError]]:
    """The split of every member, by its group; and those that the source puts into another one."""
    official: dict[str, Split] = {}
    free: dict[str, list[str]] = {}
    for m in members.values():
        if m.split is not None:
            both: tuple[Split, Split] = official.get(m.group_id, m.split), m.split
            official[m.group_id] = min(both, key=_HELD_OUT_FIRST.index)
    for m in members.values():
        if m.group_id not in official:
            free.setdefault(m.group_id, []).extend([m.label_id] if m.label_id is not None else [])
    shares: dict[Split, float] = {split: getattr(settings, split) for split in get_args(Split)}
    groups = assign_splits(free, shares, seed, settings.unlabelled) | official
    splits: dict[int, Split] = {i: groups[m.group_id] for i, m in members.items()}
    return splits, {
        i: RowError("group-held-out", "split", f"{m.split}, but its group is in {splits[i]}", "one split a group")
        for i, m in members.items()
        if m.split not in (None, splits[i])
    }


def _seen_labels(members: Iterable[Member]) -> list[Label]:
    return gathered(
        Label(id=m.label_id, name=m.label_name or m.label_id, synonyms=tuple(m.label_synonyms))
        for m in members
        if m.label_id is not None
    )
