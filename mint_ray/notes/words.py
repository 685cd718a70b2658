"""Words of a note: where they stand, and the form in which they are compared with the ontology's names.

A word is compared by its stem, alike for names and notes: without case, accents, plural, British spelling and the
endings that turn a noun into an adjective or a verb. A stem need be no word; it only has to be the same on both sides.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

# Words that a name may have and a note may leave out, or the other way round.
FILLERS = frozenset(
    "a an the of in on at to for by his her their its this that both each some any quite rather somewhat "
    "patient slightly".split()
)
# What qualifies a finding; a name without it is found around it ("marked bilateral ptosis").
QUALIFIERS = frozenset(
    "very bilateral unilateral left right mild mildly moderate moderately severe severely marked markedly profound "
    "profoundly significant significantly slight progressive early late onset congenital acquired chronic acute "
    "subtle notable prominent obvious apparent definite clear isolated intermittent occasional frequent minor "
    "generalized diffuse persistent relative extremely symmetrical symmetric asymmetric overt overall complete "
    "partial refractory episodic remarkable visible typical classic striking gross several multiple two three upper "
    "lower anterior posterior proximal distal lateral medial small large new mixed clinical known documented "
    "prenatal postnatal neonatal infantile childhood juvenile adult term longstanding long-standing general".split()
)
_IRREGULAR = {
    "feet": "foot",
    "teeth": "tooth",
    "dental": "tooth",
    "dentition": "tooth",
    "halluces": "hallux",
    "nares": "naris",
    "vertebrae": "vertebra",
    "testes": "testis",
    "irides": "iris",
    "femora": "femur",
    "ulnae": "ulna",
    "radii": "radius",
    "metacarpals": "metacarpal",
    "calves": "calf",
    "children": "child",
    "women": "woman",
    "men": "man",
    "spoke": "speak",
    "spoken": "speak",
    "speaking": "speak",
    "walked": "walk",
    "widened": "wide",
    "widening": "wide",
    "shortening": "short",
    "shortened": "short",
    "thinning": "thin",
    "thinned": "thin",
    "thickened": "thick",
    "thickening": "thick",
    "flattened": "flat",
    "flattening": "flat",
    "epileptic": "epilepsy",
    "hypertensive": "hypertension",
    "psychotic": "psychosis",
    "fifth": "5",
    "fourth": "4",
    "third": "3",
    "second": "2",
    "first": "1",
    "5th": "5",
    "4th": "4",
    "3rd": "3",
    "2nd": "2",
    "1st": "1",
    "ii": "2",
    "iii": "3",
    "iv": "4",
    "behaviour": "behavior",
    "behaviours": "behavior",
    "tumour": "tumor",
    "tumours": "tumor",
    "grey": "gray",
    "sulphate": "sulfate",
    "learnt": "learn",
    "height": "height",
    "weight": "weight",
    "species": "species",
    "diabetes": "diabetes",
    "pes": "pes",
    "cannot": "unable",
    "couldn't": "unable",
    "can't": "unable",
    "does": "does",
    "has": "has",
    "was": "was",
    "diabetic": "diabetes",
    "cataracts": "cataract",
    "fits": "fits",
    "ears": "ear",
    "used": "used",
    "absence": "absence",
    "lens": "lens",
    "biceps": "biceps",
    "menses": "menses",
    "herpes": "herpes",
    "scleral": "sclera",
    "sclerae": "sclera",
    "cerebellar": "cerebellum",
    "philtral": "philtrum",
    "paresis": "paresis",
    "enlargement": "enlarg",
    "bled": "bleed",
    "fell": "fall",
    "falling": "fall",
    "spasms": "spasm",
    "dilation": "dilat",
    "dilatation": "dilat",
    "dilated": "dilat",
    "regressed": "regression",
    "downslanting": "downslant",
    "upslanting": "upslant",
    "anxious": "anxiety",
    "hypoplastic": "hypoplasia",
    "dysplastic": "dysplasia",
    "aplastic": "aplasia",
    "dysmorphia": "dysmorph",
    "dysmorphism": "dysmorph",
    "dysmorphisms": "dysmorph",
    "dysmorphic": "dysmorph",
    "dysmorphology": "dysmorph",
    "thumbs": "thumb",
    "autistic": "autistic",
    "impaired": "impair",
    "impairment": "impair",
    "impairments": "impair",
    "disabled": "disabil",
    "disability": "disabil",
    "disabilities": "disabil",
    "mentally": "mental",
}
_TOKEN = re.compile(
    r"\n(?=[ \t]*(?:\n|[-•*·–][ \t]|\d{1,2}[.)][ \t]|[A-Z]))|\d+(?:st|nd|rd|th)\b|[^\W\d_]+(?:['’](?:t|s)\b)?|\d+(?:[.,]\d+)*|[^\w\s]|_"
)


class Word(NamedTuple):
    """A word or sign of a note with its place; `stem` is what it is compared by, a sign's the sign itself."""

    stem: str
    start: int
    end: int
    raw: str


def words(text: str) -> list[Word]:
    """Words and signs in their order; hyphens are no signs, a line break is one where the next line begins anew."""
    found = []
    for match in _TOKEN.finditer(text):
        raw = match[0]
        if raw not in "-‐‑–'’\"“”*_":
            found.append(Word(stem(raw), match.start(), match.end(), raw))
    return found


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The form in which a word is compared."""
    folded = fold(word)
    if not folded[:1].isalpha():
        return _IRREGULAR.get(folded, folded)
    folded = folded.removesuffix("'s").removesuffix("’s")
    if folded in _IRREGULAR:
        return _IRREGULAR[folded]
    return folded if len(folded) < 4 or folded in QUALIFIERS or folded in FILLERS else _stripped(_american(folded))


def fold(word: str) -> str:
    """Without case and accents."""
    lowered = word.casefold()
    if lowered.isascii():
        return lowered
    return "".join(c for c in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(c))


def _american(word: str) -> str:
    word = word.replace("ae", "e").replace("oe", "e") if len(word) > 4 else word
    word = re.sub(r"isation", "ization", word)
    word = re.sub(r"ise(d|s|r)?$", r"ize\1", word)
    word = re.sub(r"ising$", "izing", word)
    word = re.sub(r"([^aeo])our(s|ed|less)?$", r"\1or\2", word)
    return re.sub(r"tre(s)?$", r"ter\1", word)


def _stripped(word: str) -> str:
    word = _singular(word)
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)] + instead
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "sz":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


_ENDINGS = (
    ("iness", "y"), ("ness", ""), ("ically", ""), ("ility", ""), ("icity", ""), ("ity", ""), ("ing", ""), ("ed", ""),
    ("ally", ""), ("ly", ""), ("ical", ""), ("ial", ""), ("al", ""), ("ic", ""), ("ia", ""), ("y", ""), ("ar", ""),
    ("ous", ""),
)  # fmt: skip
