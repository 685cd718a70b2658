"""What a term may be called: names and synonyms of the ontology, and how clinicians write them (`phrases.txt`).

Two tables lead from words to a term: `exact` by their stems in order, `loose` by classes of equal words in any order,
without words such as `serum` or `level`. No automaton over text (Aho-Corasick) does that: the order is free, and what
stands between is skipped. A bag of words is known by the sum of its words' numbers, so that a window over a note grows
by one addition and one look-up a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path

from mint_ray.hpo import Ontology, definitions, names, ontology, remembered
from mint_ray.notes.words import FILLERS, stem, words

PHRASES = Path(__file__).with_name("phrases.txt")
NORMALS = Path(__file__).with_name("normals.txt")
LONGEST = 9  # words of a name; what is longer nobody writes out
_ABBREVIATION = re.compile(r"[A-Z][A-Z][A-Za-z0-9-]{0,4}")

# Synonyms that are words of every day first: a note that has them seldom means the finding.
EVERYDAY = frozenset(
    "all ordering arranging cutting corn boil mole spinning jumping hopping bouncing inaction slowness coldness aloneness "
    "tearing cancer tumor tumour oncology birthmark sad tired illusions trance proboscis rosette mass neoplasm "
    "neoplasia hives hostile clavus piles sleepy talipes placidity blushing frailty inertia anger "
    "pit freckle fits punding jerking macule nevus naevus striae sweating "
    "dullness languor torpor blister blisters growth speech deficiency chills "
    "stupor crackles rales squawks sneeze".split()
) | {"cleft lip and palate", "cleft lip/palate"}  # which are two findings

_CLASSES = """
kidney renal | heart cardiac | liver hepatic | lung pulmonary | eye ocular | nose nasal | face facial facies | skin cutaneous
jaw mandible mandibular | vision visual sight eyesight | hearing auditory | increased elevated raised high | spine spinal
decreased reduced low diminished lowered | wide broad | large big enlarged | small little | loss impairment impaired
absent absence lack lacking missing | delay delayed late | recurrent frequent repeated recurring | finger digit
walk walking ambulate ambulation | abnormal abnormality anomaly anomalous | weak weakness | testis testicle testicular
seizure convulsion | muscle muscular | atrophy wasting | bone osseous | difficulty problem trouble | forehead brow
nostril naris | ear auricle pinna | vermillion vermilion | protruding protuberant | mouth oral | chest thorax thoracic
hypoplasia underdeveloped underdevelopment | limb extremity | fissure fissures | eyelash lash | leg legs
child childhood | sole plantar | palm palmar | retrognathic retrognathia | slanted slanting slant sloping
deficiency deficient | tooth dental | prominent protrud | hand manual | cerebellum cerebellar | retina retinal
cornea corneal | stomach gastric | foot pedal | bladder vesical | vagina vaginal | penis penile | arch arched
"""
COPULAS = frozenset("is are was were appeared appear be been seem looks".split())
_DROPPED = "circulating serum plasma blood concentration level morphology configuration appearance value measurement"


def _classes() -> dict[str, str]:
    groups = [group.split() for line in _CLASSES.strip().splitlines() for group in line.split("|")]
    return {stem(word): stem(group[0]) for group in groups for word in group}


CLASSES = _classes()
DROPPED = frozenset(map(stem, _DROPPED.split()))


@dataclass(frozen=True)
class Lexicon:
    """Words to terms, by their ids."""

    exact: dict[tuple[str, ...], str]
    loose: dict[int, str]
    normal: dict[int, str]  # as `loose`: words that say a finding is not there
    abbreviations: dict[str, str]
    numbers: dict[str, int]  # of every stem that a key has

    @cached_property
    def known(self) -> frozenset[int]:
        """The bags of all keys: what is not among them names nothing."""
        return frozenset([*map(bag, self.exact), *self.loose, *self.normal]) - {0}

    @cached_property
    def misspelt(self) -> dict[str, str]:
        """A stem with one letter left out, to the stem; of those of seven letters or more."""
        found: dict[str, str] = {}
        for word in sorted(self.numbers):
            if len(word) >= 7 and word.isalpha():
                found |= dict.fromkeys(_deletions(word), word)
        return found

    def corrected(self, word: str) -> str:
        """The stem that a word with one wrong letter stands for, where it is of no name; else itself."""
        if word in self.numbers or len(word) < 7 or not word.isalpha():
            return word
        for form in (word, *_deletions(word)):
            found = self.misspelt.get(form) or (form if form in self.numbers and len(form) >= 7 else None)
            if found and found[0] == word[0] and word not in general_words():
                return found
        return word


def _deletions(word: str) -> Iterator[str]:
    return (word[:i] + word[i + 1 :] for i in range(len(word)))


@remembered()
def general_words() -> frozenset[str]:
    """The stems of the words that the ontology's definitions are written in: English, and no misspelling."""
    return frozenset(map(stem, set(re.findall(r"[^\W\d_]+", definitions())))) | FILLERS


def key_of(phrase: str) -> tuple[str, ...]:
    """The stems of a phrase as `exact` has them: without fillers and signs, `or` and `/` as `and`."""
    return tuple(_joined(word.stem) for word in words(phrase) if counts(word.stem))


def counts(word: str) -> bool:
    """Whether a word or sign is part of a key."""
    return word not in FILLERS and (word[:1].isalnum() or word in "/&+")


def _joined(word: str) -> str:
    return "and" if word in ("or", "/", "&") else word


@cache
def number_of(word: str) -> int:
    """The number of a stem's class; 0 of a word that `loose` leaves out."""
    shared = CLASSES.get(word, word)
    return 0 if word in DROPPED else int.from_bytes(blake2b(shared.encode(), digest_size=8).digest())


def bag(key: Iterable[str]) -> int:
    """A key as `loose` has it: without order."""
    return sum(map(number_of, key))


@remembered()
def lexicon() -> Lexicon:
    """The lexicon of this release, built once a process (about two seconds)."""
    known = ontology()
    exact: dict[tuple[str, ...], str] = {}
    loose: dict[int, str] = {}
    abbreviations: dict[str, str] = {}
    for phrase, term_id in _phrases(known):
        if _ABBREVIATION.fullmatch(phrase):
            abbreviations.setdefault(phrase, term_id)
            continue
        key = key_of(phrase)
        if not key or len(key) > LONGEST or phrase.casefold() in EVERYDAY:
            continue
        exact.setdefault(key, term_id)
        if _in_any_order(key):
            loose.setdefault(bag(key), term_id)
    normals = [(key_of(phrase), term_id) for phrase, term_id in _normals(known)]
    numbers = {word: number_of(word) for key in (*exact, *(key for key, _ in normals)) for word in key}
    return Lexicon(exact, loose, {bag(key): term_id for key, term_id in normals}, abbreviations, numbers)


def _in_any_order(key: tuple[str, ...]) -> bool:
    """Not what has a verb, nor an absence: "seizures were absent" would be an absence seizure."""
    telling = [word for word in key if word not in DROPPED]
    return len(telling) > 1 and not COPULAS.intersection(key) and stem("absence") not in key


def _phrases(known: Ontology) -> Iterator[tuple[str, str]]:
    """Phrases and terms, the surest first: names, phrases of our own, exact synonyms, related ones."""
    terms = [known.terms[i] for i in sorted(known.phenotypes)]
    yield from ((term.name, term.id) for term in terms if not term.obsolete)
    yield from own_phrases(known)
    for scopes in (("EXACT",), ("NARROW",), ("RELATED",)):
        for term_id, synonyms in sorted(names().items()):
            if term_id in known.phenotypes:
                yield from ((s.text, term_id) for s in synonyms if s.scope in scopes)


def _normals(known: Ontology) -> Iterator[tuple[str, str]]:
    for what, term_id in own_phrases(known, NORMALS):
        for said in (
            "normal",
            "unremarkable",
            "intact",
            "within normal limits",
            "within normal range",
            "age-appropriate",
        ):
            yield from (
                (f"{what} {said}{verb}", term_id)
                for verb in ("", " is", " are", " was", " were", " remained", " has been")
            )


def own_phrases(known: Ontology, path: Path = PHRASES) -> Iterator[tuple[str, str]]:
    """The lines of `phrases.txt`, or of a file like it; a term that this release names otherwise is passed over."""
    for line in path.read_text(encoding="utf-8").splitlines():
        name, colon, phrases = line.partition(": ")
        if line.startswith("#") or not colon:
            continue
        if term := known.named(name):
            yield from ((phrase.strip(), term.id) for phrase in phrases.split(";"))
