"""Of whom a note says a finding, and whether: observed, excluded, uncertain, or a relative's.

Cues stand before or after a finding and reach to the end of its clause, as in NegEx (Chapman et al., J Biomed Inform
2001) and ConText (Harkema et al., J Biomed Inform 2009); the cues (`cues.txt`) and their reach are chosen for case
reports and referral letters.

| kind                          | reaches                                                                       |
|-------------------------------|-------------------------------------------------------------------------------|
| excluded, uncertain_list      | what follows, to the end of the clause                                        |
| excluded_next, uncertain_before | the next finding, and those joined to it                                    |
| excluded_beside               | what follows at once, else what stands before it                              |
| excluded_after, uncertain_after | the findings before it, back to where the clause begins                     |
| list_excluded, list_observed  | all that follows: the sentence, or the lines of the list                      |
| family_subject, family_list   | the sentence, or to where the patient is spoken of again                      |
| family_after                  | the finding just before it, and those joined to it                            |
| end, present_after, none, self_reported | nothing: they end a reach, or keep another cue from being read there |
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from mint_ray.notes.spotting import Spot
from mint_ray.notes.words import Word

Status = Literal["observed", "excluded", "uncertain", "family"]
CUES = Path(__file__).with_name("cues.txt")

_NEAR = 30  # characters between a cue and the finding that it stands beside
_AFTER = 120  # the same where a verb follows a list of findings
_JOINED = re.compile(r"(?:\W|\b(?:or|nor|and|any|of|the|a|an|other|significant|obvious)\b)*")
_ALTERNATIVE = re.compile(r"(?:\W|\b(?:or|nor|any|of|the|a|an)\b)*")
_ITEM = re.compile(
    r"[ \t]*(?:\((?P<in>[^()\n]{1,20})\)|[:=–—-][ \t]*(?P<to>[A-Za-z/+?-]+(?: (?:present|observed|out|assessed|tested))?)(?=[ \t]*(?:[.;,)\n|]|$)))"
)
_ITEMS: dict[str, Status] = {
    **dict.fromkeys("- – − no absent negative excluded none n nil denied false not_present not_observed ruled_out".split(), "excluded"),
    **dict.fromkeys("+ yes present positive true observed y".split(), "observed"),
    **dict.fromkeys("? suspected possible questionable unknown uncertain not_assessed not_tested n/a na unclear".split(), "uncertain"),
}  # fmt: skip


class Cue(NamedTuple):
    kind: str
    start: int
    end: int


class _Pattern(NamedTuple):
    kind: str
    rest: re.Pattern[str]


@lru_cache(maxsize=1)
def _patterns() -> dict[str, list[_Pattern]]:
    """The patterns of `cues.txt`, by the first word of each."""
    macros: dict[str, str] = {}
    found: dict[str, list[_Pattern]] = defaultdict(list)
    for line in CUES.read_text(encoding="utf-8").splitlines():
        if line.startswith("{"):
            name, _, value = line.partition(" = ")
            macros[name] = f"(?:{value})" if name != "{any}" else value
        elif line and not line.startswith("#"):
            kind, _, pattern = line.partition(": ")
            firsts, _, rest = pattern.partition(" ~")
            for first in firsts.split("|"):
                found[first].append(_Pattern(kind, _compiled(rest, macros)))
    return found


def _compiled(rest: str, macros: dict[str, str]) -> re.Pattern[str]:
    for _ in range(2):  # a macro may hold another
        for name, value in macros.items():
            rest = rest.replace(name, value)
    spaced = rest.replace(" ?", r"\s*").replace(" ", r"\s+")
    return re.compile(spaced + ("" if rest.endswith(":") else r"(?!\w)"), re.IGNORECASE)


def cues(text: str, found: list[Word], taken: set[int]) -> list[Cue]:
    """The cues of a note in their order, none within another; words that name a finding (`taken`) begin none."""
    patterns, chosen, reached = _patterns(), [], -1
    for index, word in enumerate(found):
        if word.start < reached or index in taken:
            continue
        ends = [
            (match.end(), kind)
            for kind, rest in patterns.get(word.raw.casefold().replace("’", "'"), ())
            if (match := rest.match(text, word.end))
        ]
        if ends:
            reached = max(end for end, _ in ends)
            chosen.append(Cue(next(kind for end, kind in ends if end == reached), word.start, reached))
    return chosen


class Sentence(NamedTuple):
    """A sentence, item or line of a note; `heading` is what stands above it and speaks for it."""

    start: int
    end: int
    heading: Status | None


_BREAK = re.compile(
    r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z0-9\"'(\[•*–-])"  # a full stop before a capital
    r"|\n(?=[ \t]*\n)|\n(?=[ \t]*(?:[-•*·–]|\d{1,2}[.)])[ \t])"  # an empty line, an item
    r"|\n(?=[ \t]*[A-Z][A-Za-z /&-]{2,40}:)|\n(?=[A-Z][A-Z /&-]{4,40}\n)"  # a heading
)
_BULLET = re.compile(r"\s*(?:[-•*·–]|\d{1,2}[.)])[ \t]")
_NOT_ENDS = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|dr|mr|mrs|ms|approx|ca|fig|no|resp|cf|incl|st|pat|yrs?|mo|wk|min|max|dept|prof|[A-Z]))\.$",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"[ \t]*(?:#+|\*\*|=+)?[ \t]*(?P<name>[A-Za-z][A-Za-z /&,()-]{2,48}?)[ \t]*(?:\*\*)?[ \t]*(?:(?P<colon>:)(?:\*\*)?|\n|\Z)[ \t]*(?P<rest>.*)",
    re.DOTALL,
)
_HEADINGS: tuple[tuple[re.Pattern[str], Status], ...] = (
    (re.compile(r"family|familial|pedigree|parents|mother|father|sibling", re.I), "family"),
    (re.compile(r"negative|excluded|absent|not (?:observed|present|found|seen)|ruled out|denie", re.I), "excluded"),
    (
        re.compile(
            r"differential|plan\b|recommend|to (?:exclude|rule out)|surveillance|follow-?up plan|screening|management|genetic testing|unknown|uncertain|not (?:assessed|evaluated|tested)",
            re.I,
        ),
        "uncertain",
    ),
)


def sentences(text: str) -> list[Sentence]:
    """Sentences in their order. A heading on a line of its own speaks for what follows, to an empty line or another heading."""
    found: list[Sentence] = []
    heading: Status | None = None
    itemised = False
    for start, end in _ranges(text):
        piece = text[start:end]
        item = bool(_BULLET.match(piece))
        if itemised and not item:
            heading = None  # what follows the items of a heading is not its own
        itemised = item
        if "\n\n" in text[max(0, start - 3) : start] or re.search(r"\n\s*\n\s*$", text[max(0, start - 40) : start]):
            heading = None if not _alone(found, text) else heading
        named = _named_heading(text, start, piece)
        if named:
            heading = named[0]
        found.append(Sentence(start, end, heading))
        if named and heading != "family" and not piece.rstrip().endswith((":", "*")) and ":" in piece:
            heading = None  # a list in the heading's own line ends with it
    return found


def _alone(found: list[Sentence], text: str) -> bool:
    """Whether what stands before is a heading alone."""
    return (
        bool(found)
        and len(text[found[-1].start : found[-1].end].strip(" :#*=")) < 40
        and not text[found[-1].start : found[-1].end].strip().endswith(".")
    )


def _named_heading(text: str, start: int, piece: str) -> tuple[Status | None] | None:
    """What a heading at the beginning of a line says; None: no heading."""
    if start and "\n" not in text[max(0, start - 2) : start]:
        return None
    match = _HEADING.fullmatch(piece.strip())
    if not match or not (
        match["colon"]
        or (
            not match["rest"].strip()
            and len(piece.split()) <= 5
            and (piece.strip().isupper() or piece.lstrip().startswith(("#", "*")))
        )
    ):
        return None
    if len(match["name"].split()) > 6:
        return None
    return (next((status for pattern, status in _HEADINGS if pattern.search(match["name"])), None),)


def _ranges(text: str) -> list[tuple[int, int]]:
    """Where sentences, items and headings begin and end. An item ends with its line, unless the next goes on in small letters."""
    cuts = [m.end() for m in _BREAK.finditer(text) if not _NOT_ENDS.search(text[max(0, m.start() - 8) : m.start()])]
    starts = [0, *cuts]
    found: list[tuple[int, int]] = []
    for start, end in zip(starts, [*cuts, len(text)], strict=True):
        line = re.search(r"\n(?=\s*[^\sa-z])", text[start:end]) if _BULLET.match(text, start) else None
        middle = start + line.end() if line and line.end() < end - start else end
        found += [(start, middle)] + ([(middle, end)] if middle < end else [])
    return [(start, end) for start, end in found if text[start:end].strip()]


def statuses(text: str, found: list[Word], spotted: list[Spot], sex: str | None = None) -> list[Status]:
    """What is said of each finding, in their order. `sex` tells whether `she` is the patient or a relative."""
    taken = {i for spot in spotted for i in range(spot.first, spot.last + 1)}
    signs = cues(text, found, taken)
    by_sentence = _by_sentence(sentences(text), signs, spotted)
    said: dict[int, Status] = {}
    relative = False
    listed: Status | None = None
    for sentence, inside, numbers in by_sentence:
        item = bool(_BULLET.match(text, sentence.start))
        scope = _Scope(text, sentence, [spotted[n] for n in numbers], sex, relative, listed if item else None)
        said |= dict(zip(numbers, scope.read(inside), strict=True))
        relative = scope.of_relative
        listed = scope.listed if item or text[: sentence.end].rstrip().endswith(":") else None
    return [said[number] for number in range(len(spotted))]


def _by_sentence(parts: list[Sentence], signs: list[Cue], spotted: list[Spot]):
    """Each sentence with its cues and the numbers of its findings."""
    cue, spot = 0, 0
    for part in parts:
        inside: list[Cue] = []
        while cue < len(signs) and signs[cue].start < part.end:
            inside.append(signs[cue])
            cue += 1
        numbers: list[int] = []
        while spot < len(spotted) and spotted[spot].start < part.end:
            numbers.append(spot)
            spot += 1
        yield part, inside, numbers


class _Scope:
    """Reads one sentence from left to right."""

    def __init__(
        self, text: str, sentence: Sentence, spotted: list[Spot], sex: str | None, relative: bool, listed: Status | None
    ):
        self.text, self.sentence, self.spots = text, sentence, spotted
        self.status: list[Status] = []
        self.pronoun = {"female": "he", "male": "she"}.get(sex or "")
        opening = re.match(r"\W*(he|she|both|they)\b", text[sentence.start : sentence.end], re.IGNORECASE)
        self.of_relative = relative and bool(opening) and opening[1].casefold() in (self.pronoun, "both", "they")
        self.listed: Status | None = listed or (sentence.heading if sentence.heading != "family" else None)
        self.headed_family = sentence.heading == "family"
        self.negated: Status | None = None  # what a cue before says, to the end of its clause
        self.next: tuple[Status, int] | None = None  # what a cue says of the finding beside it
        self.clause = 0  # the first finding of this clause
        self.shown = False  # whether a verb such as `had` governs the clause

    def read(self, inside: list[Cue]) -> list[Status]:
        items = sorted([*inside, *self.spots], key=lambda item: item.start)
        for item in items:
            if isinstance(item, Cue):
                getattr(self, f"_{item.kind}", self._none)(item)
            else:
                self._finding(item)
        for number, spot in enumerate(self.spots):
            if told := item_status(self.text, spot.end):
                self.status[number] = told if self.status[number] != "family" else "family"
        return self.status

    def _finding(self, spot: Spot) -> None:
        if spot.said:
            told: Status = "excluded"
        else:
            told = self._told(spot)
        self.status.append("family" if self.of_relative or self.headed_family else told)

    def _told(self, spot: Spot) -> Status:
        if self.next:
            status, place = self.next
            between = self.text[place : spot.start]
            if (len(between) <= _NEAR and not re.search(r"[.;:,]", between)) or _ALTERNATIVE.fullmatch(between):
                self.next = (status, spot.end)
                return status
            self.next = None
        return self.negated or self.listed or "observed"

    # What each kind of cue does, by its name.

    def _none(self, cue: Cue) -> None:
        pass

    def _excluded(self, cue: Cue) -> None:
        self.negated, self.next = "excluded", None
        if not self.text[cue.start : cue.end].casefold().startswith("nor"):
            self.clause = len(self.status)

    def _excluded_beside(self, cue: Cue) -> None:
        """`denied`, `absent`: of what follows at once, else of what stands before."""
        following = next((spot.start for spot in self.spots if spot.start >= cue.end), None)
        near = (
            following is not None
            and following - cue.end <= _NEAR
            and not re.search(r"[.;:,\n]", self.text[cue.end : following])
        )
        if near or self.clause == len(self.status):
            self._excluded(cue)
        else:
            self._back(cue, "excluded")

    def _uncertain_list(self, cue: Cue) -> None:
        self.negated, self.next = "uncertain", None

    def _excluded_next(self, cue: Cue) -> None:
        self.next = ("excluded", cue.end)

    def _uncertain_before(self, cue: Cue) -> None:
        self.next = ("uncertain", cue.end)

    def _list_excluded(self, cue: Cue) -> None:
        self.listed, self.negated, self.next = "excluded", None, None
        self.clause = len(self.status)

    def _list_observed(self, cue: Cue) -> None:
        if self.sentence.heading is None or self.listed != self.sentence.heading:
            self.listed = None
        self.negated, self.next = None, None
        self.clause = len(self.status)

    def _excluded_after(self, cue: Cue) -> None:
        self._back(cue, "excluded")

    def _uncertain_after(self, cue: Cue) -> None:
        self._back(cue, "uncertain")

    def _back(self, cue: Cue, status: Status) -> None:
        """The findings before a cue, back to where its clause begins; of a verb's objects those after the last joint."""
        first = max(self.clause, self._after_joint(cue) if self.shown else self.clause)
        if first >= len(self.status) or cue.start - self.spots[len(self.status) - 1].end > _AFTER:
            return
        for number in range(first, len(self.status)):
            if self.status[number] != "family":
                self.status[number] = status
        self.negated, self.clause, self.shown = None, len(self.status), False

    def _after_joint(self, cue: Cue) -> int:
        """The first finding after the last comma, `and` or `while` before a cue."""
        last = len(self.status) - 1
        while last > self.clause:
            between = self.text[self.spots[last - 1].end : self.spots[last].start]
            if re.search(r",|;|\band\b|\bwhile\b", between):
                return last
            last -= 1
        return max(last, 0)

    def _present_after(self, cue: Cue) -> None:
        """What is said to be there after a joint ends the reach of what was excluded before it."""
        if self.negated != "excluded" or not self.status:
            return
        last = len(self.status) - 1
        if last > self.clause and re.fullmatch(
            r", (?:and )?(?:\w+ )?", self.text[self.spots[last - 1].end : self.spots[last].start]
        ):
            self.status[last] = "observed"
            self.negated = None

    def _end(self, cue: Cue) -> None:
        if self.listed and self.text[cue.start] == ";":
            return
        self.negated, self.next, self.clause, self.shown = None, None, len(self.status), False
        if self.listed == "excluded" and self.sentence.heading is None:
            self.listed = None
        if re.search(
            r"ha[ds]|have|show|present|develop|exhibit|displayed|demonstrated|suffer|reveal",
            self.text[cue.start : cue.end],
        ):
            self.shown = True
        if re.search(rf"\b{self.pronoun}\b" if self.pronoun else r"$^", self.text[cue.start : cue.end], re.IGNORECASE):
            self.of_relative = self.of_relative
        elif re.search(r"\b(?:he|she|patient)\b", self.text[cue.start : cue.end], re.IGNORECASE):
            self.of_relative = False

    def _shows(self, cue: Cue) -> None:
        self.shown = True

    def _family_list(self, cue: Cue) -> None:
        self.of_relative = True

    def _family_subject(self, cue: Cue) -> None:
        self.of_relative, self.negated = True, None

    def _self_subject(self, cue: Cue) -> None:
        word = self.text[cue.start : cue.end].casefold()
        if word != self.pronoun and (word not in ("he", "she") or self.pronoun or not self.of_relative):
            self.of_relative = False

    def _family_after(self, cue: Cue) -> None:
        """The finding just before, and those joined to it; not where it is the patient who has what a relative has, too."""
        if not self.status:
            return
        gap = self.text[self.spots[len(self.status) - 1].end : cue.start]
        if not re.fullmatch(r"\W*(?:(?:was|were|is|are) (?:also )?(?:\w+ )?)?", gap):
            return
        number = len(self.status) - 1
        while True:
            self.status[number] = "family"
            if number == 0 or not re.fullmatch(
                r",?\W*(?:and|or)?\W*", self.text[self.spots[number - 1].end : self.spots[number].start]
            ):
                return
            number -= 1
            if self.shown and number < self.clause:
                return


def item_status(text: str, end: int) -> Status | None:
    """What a form says of a finding right behind it: `Seizures: no`, `Ataxia (-)`."""
    match = _ITEM.match(text, end)
    if not match:
        return None
    said = (match["in"] or match["to"]).strip().casefold().replace(" ", "_")
    return _ITEMS.get(said)
