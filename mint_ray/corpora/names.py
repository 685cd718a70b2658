"""The names that the cases of a corpus give their labels, beside those that the source itself knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from mint_ray.tasks.base import Label


def gathered(labels: Iterable[Label]) -> list[Label]:
    """One label an id, sorted by id, under the first name met; every other name is a synonym."""
    names: dict[str, dict[str, None]] = {}
    for label in labels:
        names.setdefault(label.id, {}).update(dict.fromkeys([label.name, *label.synonyms]))
    return [Label(id=i, name=name, synonyms=tuple(more)) for i, (name, *more) in sorted(names.items())]


def with_given_names(known: Sequence[Label], given: Sequence[Label]) -> list[Label]:
    """Each label with the names that its cases give it as further synonyms.

    Args:
        known: the labels as the source names them.
        given: the same labels, in the same order, under all names that the cases carry.
    """
    return [
        label.model_copy(update={"synonyms": (*label.synonyms, *_new(_parts(called), label))})
        for label, called in zip(known, given, strict=True)
    ]


def without_shared_names(labels: Sequence[Label], known: Sequence[Label]) -> list[Label]:
    """The same labels, less each given name that another label has as well: it would mean neither of them."""
    owners = Counter(name for label in labels for name in _plain(label))
    return [
        label.model_copy(
            update={"synonyms": (*before.synonyms, *(n for n in _new(_parts(label), before) if owners[_spelt(n)] == 1))}
        )
        for label, before in zip(labels, known, strict=True)
    ]


def _new(names: Iterable[str], label: Label) -> list[str]:
    """Of the names those that the label has not, in whatever case, each once."""
    has = _plain(label) | {_spelt(label.id)}
    return list({_spelt(name): name for name in reversed(list(names)) if _spelt(name) not in has}.values())[::-1]


def _parts(label: Label) -> list[str]:
    """All names; `;` parts several in one text."""
    return [part.strip() for name in (label.name, *label.synonyms) for part in name.split(";") if part.strip()]


def _spelt(name: str) -> str:
    return " ".join(name.casefold().split())


def _plain(label: Label) -> set[str]:
    return {_spelt(part) for part in _parts(label)}
