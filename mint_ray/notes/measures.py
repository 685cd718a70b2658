"""What a number says: a height 3 SD below the mean is a short stature, an IQ of 45 a moderate intellectual disability.

Limits are those of the ontology's definitions: 2 standard deviations, the 3rd and the 97th centile; grades of
intellectual disability by ICD-10; body mass index by the WHO's classes for adults; milestones by the WHO's windows of
achievement (Acta Paediatr Suppl 2006).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mint_ray.hpo import ontology


class Measured(NamedTuple):
    term_id: str
    start: int
    end: int
    said: str  # "excluded" where the number is within what is normal


_WHAT = (
    (r"birth weight|birthweight", "Small for gestational age", "Large for gestational age"),
    (r"(?:occipito-?frontal|head) circumference|OFC|HC|head size", "Microcephaly", "Macrocephaly"),
    (r"(?:body |current )?(?:height|stature)|Ht|(?:body |supine )?length(?! of)", "Short stature", "Tall stature"),
    (r"(?:body )?weight|Wt", "Decreased body weight", "Increased body weight"),
    (r"body mass index|BMI", "Decreased body mass index", "Increased body mass index"),
    (r"bone age", "Delayed skeletal maturation", "Accelerated skeletal maturation"),
)
_TELLING = ("Short stature", "Microcephaly", "Delayed skeletal maturation")  # what a normal number excludes
_SD = re.compile(
    r"(?P<sign>(?:[-−–+<>≤≥~±]|\b(?:minus|plus|below|under|above|over|less than|more than|greater than)\b)[\s-]*)*(?P<number>\d+(?:[.,]\d+)?)(?:\s*(?:to|-|–)\s*[-−–]?\d+(?:[.,]\d+)?)?\s*"
    r"(?:SDs?\b|S\.D\.|SDS\b|standard deviations?|z(?:-|\s)?scores?)(?P<side>\s*(?:below|under|above|over))?",
    re.IGNORECASE,
)
_Z = re.compile(
    r"(?:z(?:-|\s)?score|SDS)\s*(?:of|was|is|:|=)?\s*(?P<sign>[-−–+]?)\s*(?P<number>\d+(?:[.,]\d+)?)", re.IGNORECASE
)
_CENTILE = re.compile(
    r"(?P<sign>[<>≤≥]|\b(?:below|under|above|over|less than|more than|greater than|beneath)\b)?\s*(?:the )?(?:P|p)?(?P<number>\d+(?:[.,]\d+)?)\s*"
    r"(?:st|nd|rd|th)?[\s-]*(?:per)?(?:centile|%ile|%)(?!\s*of)",
    re.IGNORECASE,
)
_WORDED = re.compile(
    r"(?P<sign>below|under|above|over|less than|more than)\s+(?:the )?(?:(?P<w>third|fifth|first|second|tenth)|normal range)\s*(?:per)?(?:centile)?",
    re.IGNORECASE,
)
_MEASURED = re.compile("|".join(f"(?P<m{n}>\\b(?:{words})\\b)" for n, (words, _, _) in enumerate(_WHAT)), re.IGNORECASE)
_REACH = 70
_BELOW = re.compile(r"[-−–<≤]|minus|below|under|less|beneath", re.IGNORECASE)
_IQ = re.compile(
    r"\b(?:IQ|intelligence quotient|DQ|FSIQ)\b[^.;\d]{0,40}?(?P<number>\d{2,3})\b(?!\s*(?:years|months|%))"
)
_BMI = re.compile(
    r"\b(?:BMI|body mass index)\b[^.;\d]{0,25}?(?P<number>\d{2}(?:[.,]\d+)?)(?:\s*kg)?(?!\s*(?:th|rd|st|nd|%|per|cent|SD|\d))",
    re.IGNORECASE,
)
_SMALL = {"third": 3, "fifth": 5, "first": 1, "second": 2, "tenth": 10}
_MILESTONES = (
    (r"(?:walk(?:ed|ing)?|took (?:his|her|the) first steps|first steps)", "Delayed ability to walk", 18),
    (r"(?:sat|sit(?:ting)?)", "Delayed ability to sit", 9.5),
    (
        r"(?:sp(?:oke|eak) (?:his|her|the|in)? ?(?:first )?(?:words?|sentences)?|first words?|said (?:his|her) first words?)",
        "Delayed speech and language development",
        18,
    ),
)
_AGE = r"[^.;,]{0,45}?\b(?:at|until|by|from|with)\b[^.;,\d]{0,25}(?P<number>\d+(?:[.,]\d+)?)\s*(?P<unit>months?|mo\b|years?|yrs?|y\b|m\b)"
_STEPS = tuple((re.compile(rf"\b{what}{_AGE}", re.IGNORECASE), name, most) for what, name, most in _MILESTONES)


def measured(text: str) -> Iterator[Measured]:
    """What the numbers of a note say, with the span from what is measured to its number."""
    known = ontology()
    for found in (*_growth(text), *_scores(text), *_milestones(text)):
        name, start, end, said = found
        if term := known.named(name):
            yield Measured(term.id, start, end, said)


def _growth(text: str) -> Iterator[tuple[str, int, int, str]]:
    for what in _MEASURED.finditer(text):
        _, low, high = _WHAT[int(str(what.lastgroup)[1:])]
        reach = text[what.end() : what.end() + _REACH]
        reach = re.split(r";|\.\s|\n\n|\bbut\b", reach)[0]
        if other := _MEASURED.search(reach):
            reach = reach[: other.start()]
        direction = _direction(reach)
        if direction and (direction[0] or low in _TELLING):
            side, length = direction
            yield ({-1: low, 1: high, 0: low}[side], what.start(), what.end() + length, "" if side else "excluded")


def _direction(reach: str) -> tuple[int, int] | None:
    """Below (-1), within (0) or above (1) what is normal, by the first number that tells it."""
    for pattern in (_SD, _Z):
        if match := pattern.search(reach):
            number = float(match["number"].replace(",", "."))
            told = f"{match['sign'] or ''} {match.groupdict().get('side') or ''}"
            below = bool(_BELOW.search(told))
            return ((-1 if below else 1) if number >= 2 and number < 15 else 0), match.end()
    if match := _CENTILE.search(reach):
        number = float(match["number"].replace(",", "."))
        below = bool(_BELOW.search(match["sign"] or ""))
        if number <= 3 and (below or number < 3):
            return -1, match.end()
        if number >= 97:
            return 1, match.end()
        return (0, match.end()) if not match["sign"] and 3 < number < 97 else None
    if match := _WORDED.search(reach):
        below = bool(_BELOW.search(match["sign"]))
        if below and _SMALL.get((match["w"] or "third").casefold(), 3) <= 3:
            return -1, match.end()
    return None


def _scores(text: str) -> Iterator[tuple[str, int, int, str]]:
    grades = (
        (20, "Intellectual disability, profound"),
        (35, "Intellectual disability, severe"),
        (50, "Intellectual disability, moderate"),
        (70, "Intellectual disability, mild"),
    )
    for match in _IQ.finditer(text):
        if grade := next((name for limit, name in grades if int(match["number"]) < limit), None):
            yield grade, match.start(), match.end(), ""
    for match in _BMI.finditer(text):
        number = float(match["number"].replace(",", "."))
        if number >= 25:
            yield "Obesity" if number >= 30 else "Overweight", match.start(), match.end(), ""


def _milestones(text: str) -> Iterator[tuple[str, int, int, str]]:
    for pattern, name, most in _STEPS:
        for match in pattern.finditer(text):
            months = float(match["number"].replace(",", ".")) * (12 if match["unit"][0].casefold() == "y" else 1)
            if most < months < 240 and _achieved(match[0], text[max(0, match.start() - 25) : match.start()]):
                yield name, match.start(), match.end(), ""


def _achieved(said: str, before: str) -> bool:
    """Whether a milestone was reached at that age: "walked at 26 months", "unable to walk until 26 months"."""
    if re.search(r"lost|stopp|difficult|only", said, re.IGNORECASE):
        return False
    denied = re.search(r"unable|\bnot\b|n['’]t\b|never", before + said, re.IGNORECASE)
    return bool(denied) == bool(re.search(r"\buntil\b", said, re.IGNORECASE))
