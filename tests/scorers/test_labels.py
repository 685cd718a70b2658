import json
import os
import subprocess
import sys

import pytest

from mint_ray.errors import ModelError
from mint_ray.scorers.labels import label_positions, read_label_list
from mint_ray.tasks.base import Label, save_labels
from tests.conftest import REPOSITORY

KNOWN = [
    Label(id="0", name="Cornelia de Lange syndrome"),
    Label(id="1", name="WILLIAMS-BEUREN SYNDROME; WBS"),
    Label(id="2", name="Noonan syndrome", synonyms=("Turner-like syndrome",)),
]


def test_labels_meet_by_id_before_name():
    wanted = [Label(id="2", name="Cornelia de Lange syndrome"), Label(id="0", name="another name")]
    assert label_positions(wanted, KNOWN, "m") == [2, 0]


def test_labels_meet_by_name_without_case_and_marks():
    wanted = [Label(id="OMIM:194050", name="Williams-Beuren syndrome, WBS")]
    assert label_positions(wanted, KNOWN, "m") == [1]


def test_labels_meet_by_synonyms_of_either_side():
    theirs = Label(id="OMIM:1", name="Turner like syndrome")
    ours = Label(id="OMIM:2", name="Brachmann-de Lange", synonyms=("cornelia de lange syndrome",))
    assert label_positions([theirs, ours], KNOWN, "m") == [2, 0]


def test_a_scorer_that_lacks_labels_is_refused_with_their_ids():
    wanted = [Label(id="OMIM:7", name="Kabuki"), Label(id="0", name="x"), Label(id="OMIM:8", name="Angelman")]
    with pytest.raises(ModelError, match=r"m: does not know 2 of the run's 3 labels, e\.g\. OMIM:7, OMIM:8"):
        label_positions(wanted, KNOWN, "m")


def test_two_labels_that_are_one_of_the_scorers_are_refused():
    wanted = [Label(id="2", name="Noonan syndrome"), Label(id="OMIM:9", name="Turner-like syndrome")]
    with pytest.raises(ModelError, match="OMIM:9 and another"):
        label_positions(wanted, KNOWN, "m")


def test_a_published_dictionary_is_read_in_the_order_of_its_indices(tmp_path):
    (tmp_path / "dict.json").write_text(json.dumps({"2": "c", "0": "a", "1": "b"}))
    labels = read_label_list(tmp_path / "dict.json")
    assert [(label.id, label.name) for label in labels] == [("0", "a"), ("1", "b"), ("2", "c")]


def test_a_runs_label_list_is_read_too(tmp_path):
    save_labels(KNOWN, tmp_path / "labels.json")
    assert read_label_list(tmp_path / "labels.json") == KNOWN


def test_a_label_list_is_the_same_text_in_whatever_encoding_the_machine_has(tmp_path):
    path = tmp_path / "labels.json"
    program = (
        "from pathlib import Path; from mint_ray.tasks.base import Label, save_labels;"
        f"save_labels([Label(id='A', name='Sj\\u00f6gren')], Path({str(path)!r}))"
    )
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program], check=True, env=plain, cwd=REPOSITORY)
    assert [label.name for label in read_label_list(path)] == ["Sjögren"]


@pytest.mark.parametrize("text", ["no json", "3", '{"a": "b"}', '[{"x": 1}]'])
def test_what_is_no_label_list_is_refused(tmp_path, text):
    (tmp_path / "dict.json").write_text(text)
    with pytest.raises(ModelError, match="is no label list"):
        read_label_list(tmp_path / "dict.json")


def test_a_gap_in_the_indices_is_refused(tmp_path):
    (tmp_path / "dict.json").write_text('{"0": "a", "2": "b"}')
    with pytest.raises(ModelError, match="2 indices are not 0 to 1"):
        read_label_list(tmp_path / "dict.json")


def test_the_published_list_of_528_diseases_is_read(real_data):
    labels = read_label_list(real_data("gestaltmml") / "disease_dict.json")
    assert len(labels) == 528
    assert labels[3].name == "Kabuki syndrome"
