"""Where a note names a term: spans with term ids, the longest and surest first, none within another.

Beside names as they stand (in any order of words), shared words of a coordination are read: "low-set, posteriorly
rotated ears" names both, as do "long face and nose" and "contractures of the elbows, knees and hips".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mint_ray.notes.lexicon import COPULAS, DROPPED, LONGEST, Lexicon, bag, counts
from mint_ray.notes.words import QUALIFIERS, Word, stem

JOINTS = frozenset(("and", "or", "/", "&", ",", "+", "nor", "well", "as", "plus"))  # between parts of a coordination
_TRAILING = QUALIFIERS | frozenset(
    map(stem, "sensorineural conductive febrile focal primary secondary recurrent".split())
)  # after a comma these qualify what stands before it
_AFTER_TRAILING = frozenset("and or with was were is are in from since".split())
# "ASD" is autism, but for where the heart is spoken of.
ATRIAL_SEPTAL_DEFECT = "HP:0001631"
_NEARBY = 25
_OF_THE_HEART = re.compile(
    r"heart|cardi|echo|atri|ventric|ductus|valv|secundum|septal|VSD|PDA|PFO|murmur", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Spot:
    """A named term: the words `first` to `last` of the note, the characters `start` to `end`."""

    term_id: str
    first: int
    last: int
    start: int
    end: int
    size: int  # words of its name
    said: str = ""  # what the very words say of it, where they do: "excluded" of "normal hearing"


def spots(text: list[Word], lexicon: Lexicon) -> list[Spot]:
    """The terms that the words name, in their order; of two that overlap the longer one."""
    stems = [lexicon.corrected(word.stem) for word in text]
    found = [spot for piece in _pieces(stems, lexicon) for spot in _named(piece, text, stems, lexicon)]
    found += _abbreviated(text, lexicon)
    chosen = _apart(found)
    return sorted([*chosen, *_shared(text, stems, lexicon, chosen)], key=lambda spot: (spot.first, spot.last))


def _apart(found: list[Spot]) -> list[Spot]:
    taken: set[int] = set()
    chosen: list[Spot] = []
    for spot in sorted(found, key=lambda s: (-s.size, s.last - s.first, s.first)):
        places = range(spot.first, spot.last + 1)
        if not taken.intersection(places):
            taken.update(places)
            chosen.append(spot)
    return chosen


def _pieces(stems: list[str], lexicon: Lexicon) -> Iterator[list[int]]:
    """Runs of words that no sign parts; a comma before trailing qualifiers alone parts nothing."""
    piece: list[int] = []
    for index, word in enumerate(stems):
        if word[:1].isalnum():
            piece.append(index)
        elif not (word == "," and _only_qualifies(stems, index + 1, lexicon)) and word not in ("/", "&", "+"):
            yield piece
            piece = []
        elif word != ",":
            piece.append(index)
    yield piece


def _only_qualifies(stems: list[str], index: int, lexicon: Lexicon) -> bool:
    if index >= len(stems) or stems[index] not in _TRAILING:
        return False
    after = stems[index + 1] if index + 1 < len(stems) else "."
    return not after[:1].isalnum() or after in _AFTER_TRAILING or after not in lexicon.numbers


def _named(piece: list[int], text: list[Word], stems: list[str], lexicon: Lexicon) -> Iterator[Spot]:
    """Names in a run: as they stand, then without what qualifies them."""
    content = [i for i in piece if counts(stems[i])]
    streams = [content]
    for passed in (COPULAS, QUALIFIERS):
        shorter = [i for i in streams[-1] if stems[i] not in passed]
        if len(shorter) < len(streams[-1]):
            streams.append(shorter)
    for stream in streams:
        yield from _windows(stream, text, stems, lexicon)


def _says_absent(places: list[int], stems: list[str]) -> bool:
    """Whether it is a verb that says `absent` of what stands before: no part of a name, but a negation."""
    passed = range(places[0], places[-1] + 1)
    return "absent" in {stems[i] for i in places} and any(stems[i] in COPULAS for i in passed if i not in places)


def _windows(stream: list[int], text: list[Word], stems: list[str], lexicon: Lexicon) -> Iterator[Spot]:
    """The names that words next to each other in a stream have."""
    forms = ["and" if stems[i] in ("or", "/", "&") else stems[i] for i in stream]
    numbers = [lexicon.numbers.get(form) for form in forms]
    for begin, form in enumerate(forms):
        total = 0
        for end in range(begin + 1, min(begin + LONGEST, len(forms)) + 1 if form != "and" else 0):
            number = numbers[end - 1]
            if number is None:
                break
            total += number
            if total in lexicon.known and (named := _name(tuple(forms[begin:end]), total, lexicon)):
                places = stream[begin:end]
                if places[-1] - places[0] <= 2 * len(places) + 2 and not _says_absent(places, stems):
                    yield _spot(named[0], places[0], places[-1], len(places), text, named[1])


def _name(key: tuple[str, ...], total: int, lexicon: Lexicon) -> tuple[str, str] | None:
    """The term of some words, and what they say of it beside."""
    if key[-1] == "and":
        return None
    if term := lexicon.exact.get(key) or (lexicon.loose.get(total) if len(key) > 1 else None):
        return term, ""
    return (lexicon.normal[total], "excluded") if len(key) > 1 and total in lexicon.normal else None


def _spot(term: str, first: int, last: int, size: int, text: list[Word], said: str = "") -> Spot:
    return Spot(term, first, last, text[first].start, text[last].end, size, said)


def _abbreviated(text: list[Word], lexicon: Lexicon) -> Iterator[Spot]:
    """Abbreviations in their capitals, in the plural, too."""
    for index, word in enumerate(text):
        if not word.raw[:2].isupper() or len(word.raw) < 2:
            continue
        if term := lexicon.abbreviations.get(word.raw) or lexicon.abbreviations.get(word.raw.removesuffix("s")):
            near = text[max(0, index - _NEARBY) : index + _NEARBY]
            if word.raw == "ASD" and any(_OF_THE_HEART.match(other.raw) for other in near):
                term = ATRIAL_SEPTAL_DEFECT
            yield _spot(term, index, index, 1, text)


def _shared(text: list[Word], stems: list[str], lexicon: Lexicon, chosen: Sequence[Spot]) -> Iterator[Spot]:
    """Terms of coordinations, whose words are shared by several parts."""
    covered = {i for spot in chosen for i in range(spot.first, spot.last + 1)}
    for parts in _coordinations(stems):
        for number, part in enumerate(parts):
            if found := _completed(part, parts[:number], parts[number + 1 :], stems, lexicon, covered):
                (term, said), own, size = found
                yield _spot(term, own[0], own[-1], size, text, said)


def _completed(
    part: list[int],
    earlier: list[list[int]],
    later: list[list[int]],
    stems: list[str],
    lexicon: Lexicon,
    covered: set[int],
) -> tuple[tuple[str, str], list[int], int] | None:
    """The term that a part names with words of a later one ("low-set, ... rotated EARS") or an earlier one ("LONG face and
    nose"); the part's own words of it, which name nothing alone; and how many words there are."""
    for own in _free([part[at:] for at in range(max(0, len(part) - 3), len(part))], covered):
        for other in later:
            for shared in (other[at:] for at in range(1, min(len(other), 4))):
                if term := _term([*own, *shared], stems, lexicon):
                    return term, own, len(own) + len(shared)
    for own in _free([part[:at] for at in range(min(len(part), 3), 0, -1)], covered):
        for other in reversed(earlier):
            for shared in _heads(other):
                if term := _term([*shared, *own], stems, lexicon):
                    return term, own, len(own) + len(shared)
    if len(part) == 1 and earlier and not covered.intersection(part):  # "neurofibromas, cutaneous or PLEXIFORM"
        last = next((other for other in reversed(earlier) if len(other) > 1 or covered.intersection(other)), earlier[0])
        for word in reversed(last):
            if term := _term([*part, word], stems, lexicon):
                return term, part, 2
    return None


def _free(choices: list[list[int]], covered: set[int]) -> Iterator[list[int]]:
    return (own for own in choices if own and covered.isdisjoint(own))


def _term(places: list[int], stems: list[str], lexicon: Lexicon) -> tuple[str, str] | None:
    key = tuple(stems[i] for i in places)
    total = bag(key)
    return _name(key, total, lexicon) if total in lexicon.known and not DROPPED.intersection(key) else None


def _coordinations(stems: list[str]) -> Iterator[list[list[int]]]:
    """Runs of parts between joints: at least two, each of one to five words that count."""
    parts: list[list[int]] = [[]]
    for index, word in enumerate([*stems, "."]):
        if word in JOINTS:
            if parts[-1]:
                parts.append([])
        elif word[:1].isalnum():
            parts[-1].append(index)
        else:
            if len(parts) > 1:
                yield [[i for i in part if counts(stems[i]) and stems[i] not in COPULAS] for part in parts]
            parts = [[]]


def _heads(part: list[int]) -> list[list[int]]:
    return [
        part[begin:end] for begin in range(max(0, len(part) - 4), len(part)) for end in range(len(part) - 1, begin, -1)
    ]
