import random
import string

import pytest

from mint_ray.evaluation.grounding import NameIndex, label_names, normalised, similarity
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import RareDisease
from tests.tiny_run import LABELS

INDEX = NameIndex(LABELS)


def test_names_lose_case_and_punctuation():
    assert normalised("Bardet-Biedl  Syndrome, 'type' 4.") == "bardetbiedl syndrome type 4"


def test_a_semicolon_parts_the_names_of_one_label():
    label = Label(id="OMIM:147920", name="KABUKI SYNDROME 1; KABUK1", synonyms=("Niikawa-Kuroki syndrome",))
    assert label_names(label) == ["KABUKI SYNDROME 1", "KABUK1", "Niikawa-Kuroki syndrome"]


def test_published_similarity_confuses_numbered_types():
    # 16 of 17 characters match: 2 * 16 / 34 = 0.94
    assert similarity("kabuki syndrome 1", "kabuki syndrome 2") == pytest.approx(32 / 34)
    assert INDEX.similar("Kabuki syndrome 1") == {"OMIM:1", "OMIM:2"}


def test_grounding_tells_numbered_types_apart():
    assert INDEX.ground("Kabuki syndrome 1") == "OMIM:1"
    assert INDEX.ground("Kabuki syndrome 2") == "OMIM:2"
    assert INDEX.ground("Kabuki syndrome 3") is None
    assert INDEX.ground("Kabuki syndrome") is None


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("KABUKI SYNDROME, TYPE II", "OMIM:2"),
        ("brachmann de lange syndrome", "OMIM:4"),
        ("Cornelia de Lange Syndrom 1", "OMIM:4"),
        ("Syndrome, Angelman", "OMIM:6"),
        ("Wiliams-Beuren syndrome", "OMIM:5"),
        ("Marfan syndrome", None),
        ("", None),
        ("'...'", None),
    ],
)
def test_a_name_grounds_by_exact_name_synonym_or_best_spelling(name, label):
    assert INDEX.ground(name) == label


def test_a_letter_after_a_numeral_makes_no_larger_numeral():
    index = NameIndex(
        [Label(id="2i", name="Disorder of glycosylation, type IIi"), Label(id="1a", name="Other, type Ia")]
    )
    assert index.ground("Disorder of glycosylation type 2i") == "2i"
    assert index.ground("Disorder of glycosylation type III") is None
    assert index.ground("Disorder Of Glycosylation, Type Ii") is None
    assert index.ground("Other type 1a") == "1a"
    assert NameIndex([Label(id="2", name="Noonan syndrome II")]).ground("Noonan Syndrome Ii") == "2"


@pytest.mark.parametrize("name", ["Kabuki syndrome 2", "Kabuki syndrome II", "Kabuki syndrome", "Kabuki syndrome 1A"])
def test_a_lone_type_does_not_take_in_its_neighbours(name):
    assert NameIndex(LABELS[:1]).ground(name) is None


def test_inheritance_parts_two_names_that_are_otherwise_alike():
    index = NameIndex(
        [Label(id="a", name="Intellectual developmental disorder with absent speech and seizures, autosomal dominant")],
        parting=RareDisease.parting_words,
    )
    assert index.ground("Intellectual developmental disorder with absent speech, seizures, autosomal dominant") == "a"
    assert (
        index.ground("Intellectual developmental disorder with absent speech and seizures, autosomal recessive") is None
    )


def test_a_name_that_two_labels_share_means_neither():
    index = NameIndex([Label(id="a", name="Cutis laxa"), Label(id="b", name="Cutis laxa")])
    assert index.ground("Cutis laxa") is None
    assert index.ground("Cutis laxaa") is None


def test_a_name_stands_before_a_synonym():
    index = NameIndex(
        [Label(id="a", name="Noonan syndrome"), Label(id="b", name="Other", synonyms=("Noonan syndrome",))]
    )
    assert index.ground("Noonan syndrome") == "a"


def test_names_that_several_labels_have_are_told():
    index = NameIndex(
        [
            Label(id="a", name="Noonan syndrome", synonyms=("Male Turner syndrome",)),
            Label(id="b", name="Noonan syndrome 1; NS1", synonyms=("NOONAN Syndrome", "Male Turner syndrome")),
            Label(id="c", name="Cutis laxa", synonyms=("Cutis laxa",)),
            Label(id="d", name="Type", synonyms=("type", "...")),
        ]
    )
    assert index.ambiguous() == ["male turner syndrome", "noonan syndrome"]
    assert index.owners("Noonan Syndrome") == {"a", "b"} and index.owners("NS1") == {"b"} and not index.owners("other")
    assert (index.ground("noonan syndrome"), index.ground("Male Turner syndrome")) == ("a", None)


def test_a_synonym_that_is_like_another_labels_name_draws_no_misspelling_to_either():
    index = NameIndex([Label(id="a", name="Cutis laxa"), Label(id="b", name="Other", synonyms=("Cutis laxa",))])
    assert index.ground("Cutis laxaa") is None


def test_a_name_without_letters_matches_nothing():
    assert INDEX.similar("'--'") == frozenset()


def test_the_fast_search_decides_as_difflib_alone_does():
    generator = random.Random(1)
    labels = [Label(id=str(i), name=_name(generator)) for i in range(30)]
    answers = [_misspelt(generator, generator.choice(labels).name) for _ in range(500)]
    index = NameIndex(labels)
    decided = [index.similar(answer) for answer in answers]
    directly = [
        frozenset(x.id for x in labels if similarity(normalised(x.name), normalised(answer)) >= 0.8)
        for answer in answers
    ]
    assert decided == directly
    # The comparison says something only if both verdicts are common.
    assert 100 < sum(map(bool, decided)) < 450


def _name(generator: random.Random) -> str:
    words = [
        "syndrome",
        "dysplasia",
        "congenital",
        "Noonan",
        "Kabuki",
        "muscular",
        "type",
        "1",
        "2",
        "autosomal",
        "deafness",
    ]
    return " ".join(generator.sample(words, generator.randint(2, 5)))


def _misspelt(generator: random.Random, name: str) -> str:
    letters = list(name)
    for _ in range(generator.randint(0, len(letters) // 2)):
        letters[generator.randrange(len(letters))] = generator.choice(string.ascii_lowercase + " ")
    return "".join(letters)
