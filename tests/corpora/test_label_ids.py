from pathlib import Path

import pytest

from mint_ray.corpora.label_ids import check_list, one_id_each, shared_names, written
from mint_ray.errors import CorpusError
from mint_ray.tasks.base import Label


@pytest.mark.parametrize(
    ("label_id", "registry", "one"),
    [
        ("ENSG00000137474", "ENSEMBL", "ENSEMBL:ENSG00000137474"),
        ("ensembl:ENSG00000137474.12", "ENSEMBL", "ENSEMBL:ENSG00000137474"),
        ("hgnc:7606", "HGNC", "HGNC:7606"),
        ("MIM:147920", "OMIM", "OMIM:147920"),
        ("Orphanet: 2322", "ORPHA", "ORPHA:2322"),
        ("ENTREZ:4647", "NCBIGene", "NCBIGene:4647"),
        ("Breast", None, "Breast"),
        ("L:1", None, "L:1"),
        ("OMIM:", None, "OMIM:"),
    ],
)
def test_an_id_is_of_a_registry_whatever_its_spelling(label_id, registry, one):
    assert written(label_id) == (registry, one)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ({"ENSG00000137474": ["MYO7A"], "HGNC:7606": ["MYO7A"]}, {"ENSG00000137474": "HGNC:7606"}),
        (
            {"NCBIGene:4647": ["myo7a"], "ENSG00000137474": ["MYO7A"]},
            {"ENSG00000137474": "NCBIGene:4647"},
        ),
        (
            {"MONDO:1": ["Kabuki  Syndrome 1"], "OMIM:147920": ["KABUKI SYNDROME 1; KABUK1"], "ORPHA:9": ["kabuki syndrome 1"]},
            {"MONDO:1": "OMIM:147920", "ORPHA:9": "OMIM:147920"},
        ),
        ({"omim:147920": ["x"], "OMIM:147920": ["y"]}, {"omim:147920": "OMIM:147920"}),
        ({"MIM:147920": ["x"]}, {"MIM:147920": "OMIM:147920"}),
    ],
)  # fmt: skip
def test_ids_of_one_thing_become_the_one_of_the_first_registry(names, chosen):
    assert one_id_each(names) == chosen


@pytest.mark.parametrize(
    "names",
    [
        {"OMIM:1": ["Usher syndrome"], "OMIM:2": ["Usher syndrome"], "MONDO:1": ["Usher syndrome"]},
        {"OMIM:1": ["a"], "OMIM:2": ["b"], "MONDO:1": ["a", "b"]},  # whichever is meant, it is not both
        {"HGNC:644": ["AR"], "OMIM:1": ["AR"]},  # a gene is no disease
        {"a": ["one"], "b": ["one"]},
        {"L:1": ["one"], "M:1": ["one"]},
        {"OMIM:1": ["OMIM:1"], "MONDO:1": ["MONDO:1"]},  # called by their ids, for want of a name
    ],
)
def test_what_may_be_two_things_stays_two_labels(names):
    assert one_id_each(names) == {}


def test_the_ids_of_a_list_stay_and_others_become_theirs():
    names = {"ENSG00000137474": ["MYO7A"], "HGNC:7606": ["MYO7A"]}
    assert one_id_each(names, {"ENSG00000137474"}) == {"HGNC:7606": "ENSG00000137474"}
    assert one_id_each(names, set(names)) == {}


@pytest.mark.parametrize("odd", ["", " ", "x" * 501, "a\nb", "\0", "\u202ex", "\ud800"])
def test_a_label_list_with_an_id_or_name_that_is_none_says_where(odd):
    good = Label(id="a", name="one", synonyms=("$x^$",))
    for label in (Label(id=odd, name="x"), Label(id="b", name=odd), Label(id="b", name="x", synonyms=(odd,))):
        with pytest.raises(
            CorpusError, match=r"labels.json: label 1: (id|name|synonyms) has \d+ characters; expected one line"
        ):
            check_list([good, label], Path("labels.json"))
    with pytest.raises(CorpusError, match="labels 0 and 1 have one id"):
        check_list([good, good], Path("labels.json"))
    check_list([good], Path("labels.json"))


def test_names_that_labels_share_are_found_whatever_their_case_and_punctuation():
    labels = [
        Label(id="a", name="Noonan syndrome 1", synonyms=("NS1",)),
        Label(id="b", name="noonan-syndrome 1"),
        Label(id="c", name="other", synonyms=("ns1", "NS-1")),
        Label(id="d", name="$"),
        Label(id="e", name="%"),
    ]
    assert shared_names(labels) == {"noonansyndrome1": ["a", "b"], "ns1": ["a", "c"]}
