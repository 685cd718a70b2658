import csv
import json
import os
from pathlib import Path

import pytest

from mint_ray.corpora.gmdb import Gmdb, age_of, ethnicity_of, label_of
from mint_ray.corpora.reading import outcomes_of
from mint_ray.errors import CorpusError
from mint_ray.records import Case, Refusal
from mint_ray.tasks.base import Label
from tests.corpora.pictures import jpeg, png_header

COLUMNS = ["image_id", "patient_id", "internal_syndrome_id", "internal_syndrome_name", "disorder_names", "gene_names"]
COLUMNS += ["present_features", "absent_features", "age_year", "age_month", "gender"]
COLUMNS += ["ethnicity_category", "ethnicity_sub_category"]


def patient(image_id: int, **changes) -> dict:
    row = {
        "image_id": str(image_id),
        "patient_id": f"P{image_id}",
        "internal_syndrome_id": "1",
        "internal_syndrome_name": "WILLIAMS-BEUREN SYNDROME; WBS",
        "disorder_names": "Williams syndrome",
        "present_features": "HP:0000293;HP:0001249",
        "absent_features": "HP:0001250",
        "age_year": "3.0",
        "age_month": "6",
        "gender": "male",
        "ethnicity_category": "European",
        "ethnicity_sub_category": "unknown",
    }
    return row | changes


def write(path: Path, columns: list[str], rows: list[dict], delimiter: str) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)


def database(folder: Path, gallery: list[dict], test: list[dict], name: str = "frequent", columns=COLUMNS) -> Path:
    """A folder as GMDB comes, with a photograph for every image."""
    (folder / "gmdb_crops").mkdir(parents=True, exist_ok=True)
    write(folder / "image_metadata_v1.0.9.tsv", columns, gallery + test, "\t")
    for part, rows in {"gallery": gallery, "test": test}.items():
        write(folder / f"gmdb_{name}_{part}_images_v1.0.9.csv", ["image_id", "split"], rows, ",")
        for row in rows:
            (folder / "gmdb_crops" / f"{row['image_id']}_aligned.jpg").write_bytes(jpeg())
    return folder


def outcomes(folder: Path, **settings) -> tuple[dict[str, dict], dict[str, dict]]:
    """Cases and refusals by case id."""
    corpus = Gmdb(kind="gmdb", folder=folder, **settings)
    found = [made for row in corpus.rows() for made in outcomes_of(row, corpus.reader())]
    cases = {case.case_id: case.model_dump() for case in found if isinstance(case, Case)}
    return cases, {refusal.case_id: refusal.model_dump() for refusal in found if isinstance(refusal, Refusal)}


def test_a_row_with_its_photograph_becomes_a_case(tmp_path):
    cases, refused = outcomes(database(tmp_path, [patient(7)], [patient(8)]))
    assert not refused
    assert cases["7"].pop("image") == (tmp_path / "gmdb_crops" / "7_aligned.jpg").read_bytes()
    assert cases["7"] == {
        "case_id": "7",
        "group_id": "P7",
        "publications": [],
        "split": "train",
        "label_id": "GMDB:1",
        "label_name": "WILLIAMS-BEUREN SYNDROME",
        "label_synonyms": [],
        "text": None,
        "phenotypes": [
            {"id": "HP:0000293", "name": "Full cheeks", "excluded": False, "modality": "text"},
            {"id": "HP:0001249", "name": "Intellectual disability", "excluded": False, "modality": "text"},
            {"id": "HP:0001250", "name": "Seizure", "excluded": True, "modality": "text"},
        ],
        "sex": "male",
        "age_years": 3.5,
        "ethnicity": "European",
        "mentions": [],
        "synthetic": False,
        "source": "gmdb_frequent_gallery_images_v1.0.9.csv:2",
    }
    assert cases["8"]["split"] == "test"


def test_every_photograph_that_cannot_be_used_is_refused_by_reason(tmp_path):
    folder = database(tmp_path, [patient(i) for i in range(1, 7)], [patient(8)])
    crops = folder / "gmdb_crops"
    whole = jpeg(200, 200, quality=95)
    os.remove(crops / "1_aligned.jpg")
    (crops / "2_aligned.jpg").write_bytes(whole[: len(whole) // 2])
    (crops / "3_aligned.jpg").write_bytes(png_header(40_000, 40_000))
    (crops / "4_aligned.jpg").write_bytes(b"")
    (crops / "5_aligned.jpg").write_bytes(b"<html>not found</html>")
    cases, refused = outcomes(folder)
    assert set(cases) == {"6", "8"}
    assert {i: (r["reason"], r["row"]) for i, r in refused.items()} == {
        "1": ("no-photograph", 2),
        "2": ("truncated-image", 3),
        "3": ("image-too-large", 4),
        "4": ("not-an-image", 5),
        "5": ("not-an-image", 6),
    }
    assert refused["2"]["field"] == "2_aligned.jpg"


def test_rows_that_say_too_little_are_refused_by_reason(tmp_path):
    folder = database(tmp_path, [patient(1), patient(2, internal_syndrome_id=""), patient(3)], [patient(4)])
    gallery = folder / "gmdb_frequent_gallery_images_v1.0.9.csv"
    gallery.write_text(gallery.read_text() + "99,\n../3,\n")
    metadata = folder / "image_metadata_v1.0.9.tsv"
    metadata.write_text(metadata.read_text() + "../3\tP\t1\tX\n")
    cases, refused = outcomes(folder)
    assert set(cases) == {"1", "3", "4"}
    assert {i: r["reason"] for i, r in refused.items()} == {
        "2": "no-diagnosis",
        "99": "no-metadata",
        "../3": "malformed-id",
    }


def test_a_label_outside_the_list_is_refused_and_the_list_keeps_its_order(tmp_path):
    folder = database(tmp_path, [patient(1), patient(2, internal_syndrome_id="600")], [patient(3)])
    listed = tmp_path / "disease_dict.json"
    listed.write_text(json.dumps({"1": "WILLIAMS-BEUREN SYNDROME; WBS", "0": "Cornelia de Lange syndrome"}))
    cases, refused = outcomes(folder, label_list=listed)
    assert set(cases) == {"1", "3"}
    assert (refused["2"]["reason"], refused["2"]["seen"]) == ("label-outside-list", "600")
    corpus = Gmdb(kind="gmdb", folder=folder, label_list=listed)
    assert [label.id for label in corpus.labels()] == ["GMDB:0", "GMDB:1"]
    assert corpus.label_count() == 2


def test_without_a_list_the_labels_are_the_sets_syndromes_with_all_their_names(tmp_path):
    rows = [patient(1), patient(2, disorder_names="Williams syndrome;Beuren syndrome")]
    folder = database(tmp_path, rows, [patient(3, internal_syndrome_id="10", internal_syndrome_name="X; Y")])
    corpus = Gmdb(kind="gmdb", folder=folder)
    assert corpus.labels() == [
        Label(
            id="GMDB:1",
            name="WILLIAMS-BEUREN SYNDROME",
            synonyms=("WBS", "WILLIAMS-BEUREN SYNDROME; WBS", "Williams syndrome", "Beuren syndrome"),
        ),
        Label(id="GMDB:10", name="X", synonyms=("Y", "X; Y", "Williams syndrome")),
    ]
    assert corpus.label_count() is None


def test_of_the_rare_set_the_first_split_is_used(tmp_path):
    gallery = [patient(1) | {"split": "1"}, patient(2) | {"split": "2"}]
    cases, refused = outcomes(database(tmp_path, gallery, [patient(3) | {"split": "1"}], "rare"), set="rare")
    assert (set(cases), refused) == ({"1", "3"}, {})


def test_without_a_patient_each_image_is_a_group_and_without_demographics_nothing_is_invented(tmp_path):
    columns = ["image_id", "internal_syndrome_id", "internal_syndrome_name"]
    cases, _ = outcomes(database(tmp_path, [patient(1)], [patient(2)], columns=columns))
    case = cases["1"]
    assert case["group_id"] == "1"
    assert (case["sex"], case["age_years"], case["ethnicity"], case["phenotypes"]) == (None, None, None, [])


@pytest.mark.parametrize(
    ("years", "months", "age"), [("3", "6", 3.5), ("", "6", 0.5), ("2.0", "", 2), ("", "", None), ("old", "nan", None)]
)
def test_an_age_may_lack_its_years_or_months(years, months, age):
    assert age_of(years, months) == age


def test_a_missing_sub_category_is_european_where_the_category_says_so():
    assert ethnicity_of("Asian", "South Asian") == "South Asian"
    assert ethnicity_of("European", "") == "European"
    assert ethnicity_of("Asian", "unknown") is None
    assert ethnicity_of("Unknown", "Unknown") is None


def test_a_label_without_a_name_is_called_by_its_id():
    assert label_of("5", ["", " ; "]) == Label(id="GMDB:5", name="5")


def test_tables_that_cannot_be_used_as_a_whole_say_what_is_missing(tmp_path):
    with pytest.raises(
        CorpusError, match=r"image_metadata_v1.0.9.tsv: cannot be read as a table \(FileNotFoundError\)"
    ):
        Gmdb(kind="gmdb", folder=tmp_path).outcomes(0)
    folder = database(tmp_path, [patient(1)], [], columns=["image_id"])
    with pytest.raises(CorpusError, match="has no column internal_syndrome_id, internal_syndrome_name"):
        Gmdb(kind="gmdb", folder=folder).outcomes(0)
    (folder / "list.json").write_text('["a"]')
    with pytest.raises(CorpusError, match="is no label list"):
        Gmdb(kind="gmdb", folder=database(folder, [patient(1)], []), label_list=folder / "list.json").labels()


def test_the_published_label_list_has_528_labels_with_a_name_each(tmp_path, real_data):
    listed = real_data("gestaltmml/disease_dict.json")
    corpus = Gmdb(kind="gmdb", folder=database(tmp_path, [patient(1)], []), label_list=listed)
    labels = corpus.labels()
    assert corpus.label_count() == len(labels) == len({label.name for label in labels}) == 528
    assert [label.id for label in labels[:2]] == ["GMDB:0", "GMDB:1"]
    assert (labels[0].name, labels[1].name) == ("Cornelia de Lange syndrome", "WILLIAMS-BEUREN SYNDROME")
