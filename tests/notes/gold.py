"""Notes with what they say, made of phenopackets by templates: two sets of templates that share no sentence.

A note's truth is its packet: terms observed, terms excluded, and, put in by the template, terms of relatives and terms
that are only suspected. Terms are said by name, by an exact synonym, in the plural, in British spelling, with words in
another order, and some with a typing error.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from mint_ray.hpo import names, ontology

_RELATIVES = ("mother", "father", "older brother", "younger sister", "maternal aunt", "paternal grandfather")


@dataclass
class GoldNote:
    text: str
    observed: set[str] = field(default_factory=set)
    excluded: set[str] = field(default_factory=set)
    family: set[str] = field(default_factory=set)
    uncertain: set[str] = field(default_factory=set)
    sex: str | None = None
    age_years: float | None = None


@dataclass(frozen=True)
class Style:
    """Sentences of one kind of note; `{}` is a list of findings, `{who}` a relative, `{He}` the patient."""

    opening: tuple[str, ...]
    observed: tuple[str, ...]
    excluded: tuple[str, ...]
    family: tuple[str, ...]
    uncertain: tuple[str, ...]
    none: tuple[str, ...]  # how a list of excluded findings is joined: "or" or "and"


DEVELOPMENT = Style(
    opening=(
        "A {age}-year-old {boy} was referred to our clinic.",
        "This {age}-year-old {boy} was seen in the genetics clinic with {his} parents.",
        "The patient is a {age} year old {male}, the first child of healthy, unrelated parents.",
    ),
    observed=(
        "{He} presented with {}.",
        "On examination, {he} had {}.",
        "Clinical findings included {}.",
        "{} were noted at the last visit.",
        "Physical examination showed {}.",
        "Further features were {}.",
    ),
    excluded=(
        "There was no {}.",
        "{He} did not have {}.",
        "{} were absent.",
        "There was no evidence of {}.",
        "{He} had no history of {}.",
        "The following were excluded: {}.",
        "Examination was negative for {}.",
        "{} were not observed.",
    ),
    family=(
        "{His} {who} has {}.",
        "The {who} was diagnosed with {}.",
        "Family history is notable for {} in the {who}.",
        "There is a family history of {}.",
    ),
    uncertain=(
        "{} was suspected but could not be confirmed.",
        "MRI was ordered to rule out {}.",
        "There was concern for {}.",
        "Possible {} will be followed up.",
    ),
    none=("or", "and"),
)
HELD_OUT = Style(
    opening=(
        "The proband, a {boy} aged {age} years, is the second child of consanguineous parents.",
        "We report on a {age}-year-old {female} patient in whom the diagnosis was made by exome sequencing.",
        "CASE REPORT\nThe {boy} was last evaluated at {age} years of age.",
        "Age: {age} years. Sex: {male}.",
    ),
    observed=(
        "{His} clinical picture is dominated by {}.",
        "{He} has a history of {}.",
        "The phenotype was characterised by {}.",
        "At follow-up {he} was found to have {}.",
        "Salient features: {}.",
        "{His} parents first noticed {}.",
        "{} became apparent during the first years of life.",
        "Findings:\n- {bullets}\n",
    ),
    excluded=(
        "{He} never developed {}.",
        "Notably, {} were not present.",
        "{} have been ruled out.",
        "{His} parents denied {}.",
        "Neither {} was seen.",
        "{He} showed none of {}.",
        "Pertinent negatives: {}.",
        "By contrast, {} were excluded.",
        "Investigations revealed no signs of {}.",
        "Absent findings:\n- {bullets}\n",
        "{He} is free of {}.",
    ),
    family=(
        "{His} {who}, who is otherwise well, suffers from {}.",
        "FAMILY HISTORY: {} in the {who}.",
        "Of note, {} was also reported in {his} {who}.",
        "One {who} died young and had {}.",
    ),
    uncertain=(
        "It remains unclear whether {he} has {}.",
        "{} cannot be excluded at this point.",
        "Screening for {} is recommended.",
        "The differential diagnosis included {}.",
    ),
    none=("or", "nor", "and"),
)


def packets(path: Path) -> Iterator[tuple[str, str | None, float | None, list[str], list[str]]]:
    """Id, sex, age, terms observed and excluded of each phenopacket, under living ids of phenotypes."""
    known = ontology()
    with gzip.open(path, "rt") as lines:
        for line in lines:
            packet = json.loads(line)
            terms = {False: [], True: []}
            for feature in packet.get("phenotypicFeatures", ()):
                term = known.resolve(feature["type"]["id"])
                if term and term.id in known.phenotypes:
                    terms[feature.get("excluded", False)].append(term.id)
            duration = packet["subject"].get("timeAtLastEncounter", {}).get("age", {}).get("iso8601duration", "")
            age = re.fullmatch(r"P(\d+)Y.*", duration)
            sex = {"MALE": "male", "FEMALE": "female"}.get(packet["subject"].get("sex"))
            yield packet["id"], sex, float(age[1]) if age else None, terms[False], terms[True]


def gold_note(packet, style: Style, seed: int) -> GoldNote:
    """A note of a packet."""
    name, sex, age, observed, excluded = packet
    rng = Random(f"{seed} {name}")
    sex, age = sex or rng.choice(("male", "female")), age or float(rng.randint(2, 40))
    observed, excluded = rng.sample(observed, min(len(observed), 14)), rng.sample(excluded, min(len(excluded), 10))
    others = [t for t in _frequent() if not _related(t, observed + excluded)]
    family, uncertain = rng.sample(others, 2), []
    uncertain = [t for t in rng.sample(others, 6) if not _related(t, family)][:1]
    parts = [
        *_chunks(observed, style.observed, "and", rng),
        *_chunks(excluded, style.excluded, rng.choice(style.none), rng),
    ]
    parts += _chunks(family[:1], style.family, "and", rng) + _chunks(uncertain, style.uncertain, "and", rng)
    opening, rest = rng.choice(style.opening), parts[1:]
    rng.shuffle(rest)
    told = " ".join(_for(text, sex, age, rng) for text in [opening, *parts[:1], *rest])
    return GoldNote(_wrapped(told, rng), set(observed), set(excluded), set(family[:1]), set(uncertain), sex, age)


def _related(term: str, others: list[str]) -> bool:
    known = ontology()
    return any(term in known.ancestors(o) or o in known.ancestors(term) for o in others)


def _frequent() -> list[str]:
    found = "Scoliosis; Myopia; Epistaxis; Migraine; Hypertension; Psoriasiform dermatitis; Cataract; Asthma; Nephrolithiasis; Hypothyroidism; Tremor; Cleft palate; Short stature; Obesity; Hearing impairment; Seizure; Anemia; Ptosis"
    return [term.id for each in found.split("; ") if (term := ontology().named(each))]


def _chunks(terms: list[str], sentences: tuple[str, ...], joint: str, rng: Random) -> list[str]:
    told, waiting = [], list(terms)
    while waiting:
        size = rng.randint(1, 5)
        some, waiting = waiting[:size], waiting[size:]
        sentence = rng.choice(sentences)
        said = [surface(term, rng) for term in some]
        if "{bullets}" in sentence:
            told.append("\n" + sentence.replace("{bullets}", "\n- ".join(said)))
        else:
            joined = ", ".join(said[:-1]) + (f" {joint} " if len(said) > 1 else "") + said[-1]
            told.append(sentence.replace("{}", joined[0].upper() + joined[1:] if sentence.startswith("{}") else joined))
    return told


def surface(term_id: str, rng: Random) -> str:
    """One way to say a term."""
    name = ontology().terms[term_id].name
    synonyms = [s.text for s in names().get(term_id, ()) if s.scope == "EXACT" and len(s.text) > 6]
    said = rng.choice(synonyms) if synonyms and rng.random() < 0.4 else name
    if not re.search(r"[A-Z]{2}|[A-Z]\d|/|\(", said):
        said = said[0].lower() + said[1:]
    if ", " in said and rng.random() < 0.7:
        head, _, grade = said.partition(", ")
        said = f"{grade} {head}"
    if rng.random() < 0.15 and re.search(
        r"(?:ear|seizure|spot|hernia|defect|cyst|infection|contracture|finger)$", said
    ):
        said += "s"
    if rng.random() < 0.1:
        said = re.sub(r"\b(\w+) (palate|uvula|philtrum|kidney|liver|skull)$", r"\1 \2", said)
    if rng.random() < 0.03 and len(said) > 9:
        at = rng.randint(4, len(said) - 3)
        if said[at].isalpha() and said[at + 1].isalpha():
            said = said[:at] + said[at + 1] + said[at] + said[at + 2 :]
    return said


def _for(text: str, sex: str, age: float, rng: Random) -> str:
    male = sex == "male"
    words = {
        "{age}": f"{age:.0f}", "{boy}": ("boy" if age < 16 else "man") if male else ("girl" if age < 16 else "woman"),
        "{male}": sex, "{female}": sex, "{He}": "He" if male else "She", "{he}": "he" if male else "she",
        "{His}": "His" if male else "Her", "{his}": "his" if male else "her", "{who}": rng.choice(_RELATIVES),
    }  # fmt: skip
    for name, value in words.items():
        text = text.replace(name, value)
    return text


def _wrapped(text: str, rng: Random) -> str:
    """The same with lines that break in the middle of sentences, for some notes."""
    if rng.random() < 0.7 or "\n- " in text:
        return text
    out, width = [], 0
    for word in text.split(" "):
        out.append("\n" if width + len(word) > 80 else " ")
        width = len(word) if width + len(word) > 80 else width + len(word) + 1
        out.append(word)
    return "".join(out).strip()
