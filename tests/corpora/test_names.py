from mint_ray.corpora.names import gathered, with_given_names, without_shared_names
from mint_ray.evaluation.grounding import NameIndex
from mint_ray.tasks.base import Label


def test_all_names_that_cases_give_a_label_are_gathered_under_its_id():
    given = [Label(id="B", name="two"), Label(id="A", name="one", synonyms=("uno", "eins")), Label(id="A", name="un")]
    assert gathered([*given, Label(id="A", name="eins")]) == [
        Label(id="A", name="one", synonyms=("uno", "eins", "un")),
        Label(id="B", name="two"),
    ]
    assert gathered([]) == []


def test_a_name_of_the_cases_becomes_a_synonym_that_answers_ground_to():
    known = [Label(id="A", name="Nemaline myopathy 3", synonyms=("NEM3",)), Label(id="B", name="Kabuki syndrome 1")]
    given = [Label(id="A", name="Congenital myopathy 2A"), Label(id="B", name="KABUKI  SYNDROME 1; KABUK1; b")]
    labels = with_given_names(known, given)
    assert labels == [
        Label(id="A", name="Nemaline myopathy 3", synonyms=("NEM3", "Congenital myopathy 2A")),
        Label(id="B", name="Kabuki syndrome 1", synonyms=("KABUK1",)),  # `b` is the id itself
    ]
    assert without_shared_names(labels, known) == labels
    assert NameIndex(known).ground("congenital myopathy 2A") is None
    assert NameIndex(labels).ground("congenital myopathy 2A") == "A"


def test_a_given_name_that_another_label_has_is_nobodys():
    known = [
        Label(id="A", name="Usher, type I", synonyms=("USH",)),
        Label(id="B", name="Usher, type II", synonyms=("USH2", "ush")),  # what the source itself gives twice stays
        Label(id="C", name="x"),
    ]
    given = [
        Label(id="A", name="Usher syndrome", synonyms=("ush2", "a third name", "A third  name")),
        Label(id="B", name="Usher Syndrome"),
        Label(id="C", name="x"),
    ]
    labels = with_given_names(known, given)
    assert [label.synonyms for label in labels] == [
        ("USH", "Usher syndrome", "ush2", "a third name"),
        ("USH2", "ush", "Usher Syndrome"),
        (),
    ]
    alone = without_shared_names(labels, known)
    assert [label.synonyms for label in alone] == [("USH", "a third name"), ("USH2", "ush"), ()]
