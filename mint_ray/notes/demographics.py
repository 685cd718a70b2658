"""Sex and age of the patient, where a note states them."""

from __future__ import annotations

import re
from collections import Counter

from mint_ray.records import MAX_YEARS, Sex

_FEMALE = r"girl|woman|female|daughter|lady|schoolgirl"
_MALE = r"boy|man|male|son|gentleman|schoolboy"
_NUMBERS = {
    w: n
    for n, w in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
}
_NUMBER = rf"(?P<number>\d+(?:[.,]\d+)?|{'|'.join(_NUMBERS)})(?:\s+(?P<half>and a half|½))?"
_UNIT = r"(?P<unit>years?|yrs?|y|months?|mos?|m|weeks?|wks?|w|days?|d)"
_OLD = re.compile(
    rf"\b{_NUMBER}[\s-]*(?:{_UNIT}\.?(?:[\s,-]+(?:and\s+)?(?P<more>\d+)[\s-]*(?:months?|mos?|m))?[\s,-]+(?:of age|old)\b"
    r"|y\s?[/.]?\s?o\b)(?P<who>(?:[\s-]+\w+){0,3})",
    re.IGNORECASE,
)
_STATED = re.compile(
    rf"\b(?:age(?: at (?:last )?(?:examination|evaluation|assessment|encounter|presentation|visit|follow-?up|referral))?\s*[:=]\s*|aged\s+|(?:now|currently|presently)\s+(?:aged\s+)?)(?P<iso>P(?=\d)(?:\d+Y)?(?:\d+M)?)?(?:{_NUMBER}[\s-]*{_UNIT}?(?:[\s,-]+(?:and\s+)?(?P<more>\d+)[\s-]*(?:months?|mos?|m)\b)?)?",
    re.IGNORECASE,
)
_AFTER_SEX = re.compile(
    rf"\b(?:{_FEMALE}|{_MALE}|patient|child|infant)\s*,?\s*(?:aged\s+|of\s+|now\s+)?{_NUMBER}[\s-]*{_UNIT}\b",
    re.IGNORECASE,
)
_SHORT = re.compile(r"\b(?P<number>\d{1,3})\s?(?P<unit>y|yr|yo|y\.o\.|mo|m)?[\s/-]*(?P<sex>[FM])\b(?![a-z])")
_SEX = re.compile(r"\b(?:sex|gender)\s*[:=]?\s*(?P<sex>female|male|f|m|girl|boy|woman|man)\b", re.IGNORECASE)
_NOUN = re.compile(rf"\b(?:(?P<f>{_FEMALE})|(?P<m>{_MALE}))\b(?!\s+(?:sibling|relative|cousin))", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:(?P<f>she|her|hers|herself)|(?P<m>he|his|him|himself))\b", re.IGNORECASE)
_INTRODUCED = re.compile(
    r"(?:proband|patient|case|this|the|infant|child|newborn|neonate|baby|a|an|old|caucasian|\w+ian|affected|index)[\s-]+(?:(?:\w+)[\s-]+){0,2}$",
    re.IGNORECASE,
)
_YEARS = {"y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}


def age_of(text: str) -> float | None:
    """The patient's age in years, as it is first stated; None where it is not."""
    for pattern in (_STATED, _OLD, _AFTER_SEX):
        for match in pattern.finditer(text):
            if pattern is _OLD and _of_relative(text, match.start(), match["who"]):
                continue
            years = _years(match)
            if years is not None and years <= MAX_YEARS:
                return round(years, 4)
    if match := _SHORT.search(text[:200]):
        return int(match["number"]) * _YEARS["m" if (match["unit"] or "y").startswith("m") else "y"]
    return None


_RELATIVE = re.compile(
    r"\b(?:brother|sister|mother|father|cousin|uncle|aunt|parents|sibling|grand\w+)\b", re.IGNORECASE
)
_RELATIVE_BEFORE = re.compile(
    r"\b(?:his|her|the)\s+(?:\w+\s+)?(?:brother|sister|mother|father|cousin|uncle|aunt)\b[^.;]{0,25}$", re.IGNORECASE
)


def _of_relative(text: str, start: int, who: str) -> bool:
    return bool(_RELATIVE.search(who) or _RELATIVE_BEFORE.search(text[max(0, start - 60) : start]))


def _years(match: re.Match[str]) -> float | None:
    if match.groupdict().get("iso"):
        years, months = re.search(r"(\d+)Y", match["iso"]), re.search(r"(\d+)M", match["iso"])
        return (int(years[1]) if years else 0) + (int(months[1]) if months else 0) / 12
    if not match["number"]:
        return None
    number = _NUMBERS.get(match["number"].casefold())
    value = float(number if number is not None else match["number"].replace(",", ".")) + (
        0.5 if match.groupdict().get("half") else 0
    )
    return value * _YEARS[(match["unit"] or "y")[0].casefold()] + int(match.groupdict().get("more") or 0) / 12


def sex_of(text: str) -> Sex | None:
    """The patient's sex: as a field states it, by how the patient is introduced, by most pronouns; None where none does."""
    if match := _SEX.search(text):
        return "female" if match["sex"][0].casefold() in "fgw" else "male"
    if match := _SHORT.search(text[:200]):
        return "female" if match["sex"] == "F" else "male"
    for match in _NOUN.finditer(text[:1000]):
        if _RELATIVE_BEFORE.search(text[max(0, match.start() - 60) : match.start()]):
            continue
        if (
            match[0].casefold() in ("son", "daughter")
            or _INTRODUCED.search(text[max(0, match.start() - 40) : match.start()])
            or match.start() < 4
        ):
            return "female" if match["f"] else "male"
    said = Counter("female" if match["f"] else "male" for match in _PRONOUN.finditer(text))
    (first, n), *rest = said.most_common() or [("", 0)]
    return first if n >= 1 and (not rest or n >= 2 * rest[0][1]) and first else None  # pyright: ignore[reportReturnType]
