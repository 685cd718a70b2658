"""Every field of a published format that a reader uses: absent, null, of a wrong type, spelt otherwise, of another version.

GMDB's columns, PanNuke's arrays and the case schema of tables; phenopackets have a page of their own.
"""

import datetime
import io
import json
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mint_ray.corpora.gmdb import METADATA, Gmdb
from mint_ray.corpora.image_folder import ImageFolder
from mint_ray.corpora.pannuke import PanNuke
from mint_ray.corpora.table import Table
from mint_ray.errors import CorpusError
from tests.corpora.here import outcomes
from tests.corpora.pictures import jpeg
from tests.corpora.test_gmdb import COLUMNS, database, patient
from tests.corpora.test_image_folder import encoded
from tests.corpora.test_pannuke import write_fold

CASE = {
    "case_id": "a",
    "label_id": "L",
    "group_id": "g",
    "split": "train",
    "label_name": "a label",
    "text": "a note",
    "phenotypes": [{"id": "HP:0001250", "name": "Seizure", "excluded": False}],
    "sex": "female",
    "age_years": 2.5,
    "ethnicity": "e",
    "synthetic": False,
}
NOTHING = object()


def made(corpus) -> tuple:
    """The one case of a source, or reason and field of its refusal."""
    (row,) = outcomes(corpus)
    return row["case"] or (row["refusal"]["reason"], row["refusal"]["field"])


def of_lines(folder: Path, row: dict):
    (folder / "x.jsonl").write_text(json.dumps(row))
    return made(Table(kind="table", path=folder / "x.jsonl"))


ABSENT = {"group_id": "a", "label_name": "L", "phenotypes": [], "synthetic": False}


@pytest.mark.parametrize("field", CASE)
@pytest.mark.parametrize("value", [NOTHING, None], ids=["absent", "null"])
def test_a_field_of_a_line_that_is_absent_or_null_is_none_or_refused_by_name(tmp_path, here, field, value):
    row = {name: each for name, each in CASE.items() if name != field}
    found = of_lines(tmp_path, row if value is NOTHING else row | {field: None})
    if field == "case_id" or (field == "label_id" and value is NOTHING):
        assert found == ("missing-field", field)
    elif field == "label_id":
        assert (found["label_id"], found["label_name"]) == (None, "a label")
    else:
        assert found[field] == ABSENT.get(field)


@pytest.mark.parametrize("field", [name for name in CASE if name != "phenotypes"])
@pytest.mark.parametrize("value", [{"a": 1}, ["a"], [None]])
def test_a_field_of_a_line_of_another_type_is_refused_by_name(tmp_path, here, field, value):
    assert of_lines(tmp_path, CASE | {field: value}) == ("wrong-field", field)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        *((name, 7, name) for name in ("case_id", "label_id", "group_id", "label_name", "text", "ethnicity")),
        *(("sex", value, "sex") for value in ("F", "Female", "unknown", 1)),
        *(("split", value, "split") for value in ("valid", "TRAIN", "")),
        *(("age_years", value, "age_years") for value in ("old", "P3Y")),
        *(("phenotypes", value, "phenotypes") for value in ("HP:0001250", {"id": "HP:1"}, 7)),
        *(("phenotypes", [value], "phenotypes.0") for value in ("HP:0001250", None, 7)),
        ("phenotypes", [{"id": 1250, "name": "Seizure"}], "phenotypes.0.id"),
        ("phenotypes", [{"id": "HP:0001250", "name": "Seizure", "modality": "sound"}], "phenotypes.0.modality"),
        ("synthetic", "perhaps", "synthetic"),
        *(("age_years", value, "age_years") for value in (-1, 151, 1e999, -1e999, 10**400)),
        *((name, value, name) for name in ("case_id", "label_id") for value in ("x" * 501, "a\nb", "\0", "\ud800")),
        *((name, value, name) for name in ("label_name", "ethnicity") for value in ("x" * 10_000, "\0", "\ud800")),
        ("text", "\ud800", "text"),
        ("phenotypes", [{"id": "HP:1", "name": "\ud800"}], "phenotypes.0.name"),
    ],
)
def test_a_value_of_a_line_that_the_field_does_not_take_is_refused_by_name(tmp_path, here, field, value, told):
    assert of_lines(tmp_path, CASE | {field: value}) == ("wrong-field", told)


@pytest.mark.parametrize("field", ["case_id", "label_id", "label_name", "group_id"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_id_or_name_of_a_line_that_is_blank_is_refused_by_name(tmp_path, here, field, value):
    assert of_lines(tmp_path, CASE | {field: value}) == ("missing-field", field)


@pytest.mark.parametrize("field", ["caseid", "Case_ID", "hpo", "age", "members", " case_id"])
def test_a_field_of_another_spelling_is_refused_by_name(tmp_path, here, field):
    assert of_lines(tmp_path, CASE | {field: "x"}) == ("unknown-field", field)


@pytest.mark.parametrize(
    ("column", "taken"),
    [
        (pa.array([2.5]), 2.5),
        (pa.array([2.5], pa.float32()), 2.5),
        (pa.array([2], pa.uint8()), 2.0),
        (pa.array([Decimal("2.5")]), 2.5),
        (pa.array(["2.5"]), 2.5),
        (pa.array([None], pa.float64()), None),
        (pa.array([float("nan")]), None),
        (pa.nulls(1), None),
        (pa.array([[2.5]]), "wrong-field"),
        (pa.array([{"years": 2.5}]), "wrong-field"),
        (pa.array([datetime.date(2020, 1, 1)]), "wrong-field"),
        (pa.array([10**7], pa.int32()).cast(pa.date32()), "wrong-field"),  # after the year 9999
        (pa.array([2**62], pa.timestamp("us")), "wrong-field"),
        (pa.array(["P2Y"]), "wrong-field"),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_an_age_of_any_column_type_is_a_number_or_refused_by_name(tmp_path, here, column, taken):
    pq.write_table(pa.table({"case_id": ["a"], "label_id": ["L"], "age_years": column}), tmp_path / "x.parquet")
    found = made(Table(kind="table", path=tmp_path / "x.parquet"))
    assert (found if isinstance(found, tuple) else found["age_years"]) == (
        ("wrong-field", "age_years") if taken == "wrong-field" else taken
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a"], pa.large_string()),
        pa.array(["a"]).dictionary_encode(),
        pa.array([b"a"]),
        pa.array(["a"], pa.string_view()),
    ],
    ids=lambda column: str(column.type),
)
def test_a_text_of_any_column_type_is_a_text(tmp_path, here, column):
    pq.write_table(pa.table({"case_id": column, "label_id": ["L"]}), tmp_path / "x.parquet")
    assert made(Table(kind="table", path=tmp_path / "x.parquet"))["case_id"] == "a"


def no_utf8(values: list[bytes]) -> pa.Array:
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values).buffers())


def test_text_that_is_no_utf8_costs_its_row_alone(tmp_path, here):
    columns = {"case_id": ["a", "b", "c"], "label_id": ["L"] * 3, "text": no_utf8([b"x", b"\xff\xfe", b"y"])}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    found = outcomes(Table(kind="table", path=tmp_path / "x.parquet"))
    assert [r["case"] and r["case"]["case_id"] for r in found] == ["a", None, "c"]
    refused = found[1]["refusal"]
    assert (refused["row"], refused["reason"], refused["field"]) == (2, "wrong-field", "text")


def test_a_damaged_row_group_is_refused_row_by_row_and_the_others_are_kept(tmp_path, here):
    ids = [f"case-{i:04}" for i in range(400)]
    data = io.BytesIO()
    columns = {"case_id": ids, "label_id": ["L"] * 400}
    pq.write_table(pa.table(columns), data, row_group_size=100, compression="gzip", use_dictionary=False)
    whole = bytearray(data.getvalue())
    column = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(1).column(0)
    middle = column.data_page_offset + column.total_compressed_size // 2
    whole[middle : middle + 60] = bytes(60)
    (tmp_path / "x.parquet").write_bytes(whole)
    found = outcomes(Table(kind="table", path=tmp_path / "x.parquet"))
    assert [r["case"]["case_id"] for r in found if r["case"]] == ids[:100] + ids[200:]
    refused = [r["refusal"] for r in found if r["refusal"]]
    assert [r["row"] for r in refused] == list(range(101, 201))
    assert {(r["reason"], r["field"]) for r in refused} == {("unreadable-file", "row group 1")}


@pytest.mark.parametrize("column", ["case_id", "label_id"])
def test_one_table_of_several_without_a_column_is_refused_and_the_others_are_read(tmp_path, here, column):
    whole = {"case_id": ["a"], "label_id": ["L"]}
    pq.write_table(pa.table(whole), tmp_path / "a.parquet")
    pq.write_table(pa.table({name: each for name, each in whole.items() if name != column}), tmp_path / "b.parquet")
    first, second = outcomes(Table(kind="table", path=tmp_path))
    assert first["case"]["case_id"] == "a"
    assert (second["refusal"]["reason"], second["refusal"]["field"]) == ("missing-field", column)


@pytest.mark.parametrize(
    "name", ["\0", "x" * 5000, "loop", "pipe", "device", "folder", "../up.jpg", "/etc/hostname", "\ud800"]
)
def test_an_image_path_is_looked_at_before_it_is_opened(tmp_path, here, name):
    folder = tmp_path / "table"
    (folder / "folder").mkdir(parents=True)
    (folder / "loop").symlink_to("loop")
    (folder / "device").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    (tmp_path / "up.jpg").write_bytes(jpeg())
    assert of_lines(folder, CASE | {"image_path": name}) == ("no-image-file", "image_path")


def test_an_image_path_that_is_no_text_is_refused(tmp_path, here):
    assert of_lines(tmp_path, CASE | {"image_path": ["a.jpg"]}) == ("wrong-field", "image_path")


# GMDB


def of_gmdb(folder: Path, **changes):
    corpus = Gmdb(kind="gmdb", folder=database(folder, [patient(1, **changes)], []))
    return made(corpus)


NEEDED = ["image_id", "internal_syndrome_id", "internal_syndrome_name"]
EMPTY = {
    "patient_id": ("group_id", "1"),
    "internal_syndrome_name": ("label_name", "1"),
    "disorder_names": ("label_name", "WILLIAMS-BEUREN SYNDROME"),
    "age_year": ("age_years", 0.5),
    "age_month": ("age_years", 3.0),
    "gender": ("sex", None),
    "ethnicity_category": ("ethnicity", None),
    "ethnicity_sub_category": ("ethnicity", "European"),
}


@pytest.mark.parametrize("column", EMPTY)
def test_a_column_of_gmdb_that_is_empty_or_absent_leaves_its_field_empty(tmp_path, here, column):
    field, value = EMPTY[column]
    assert of_gmdb(tmp_path, **{column: ""})[field] == value
    if column not in NEEDED:
        columns = [name for name in COLUMNS if name != column]
        folder = database(tmp_path, [patient(1)], [], columns=columns)
        assert made(Gmdb(kind="gmdb", folder=folder))[field] == value


@pytest.mark.parametrize("column", ["present_features", "absent_features"])
def test_features_of_gmdb_may_be_empty(tmp_path, here, column):
    assert all(p["excluded"] == (column == "present_features") for p in of_gmdb(tmp_path, **{column: ""})["phenotypes"])


@pytest.mark.parametrize("column", NEEDED)
@pytest.mark.parametrize("spelt", [None, "Image_ID", "syndrome"])
def test_a_needed_column_of_gmdb_that_is_absent_or_spelt_otherwise_is_named(tmp_path, column, spelt):
    folder = database(tmp_path, [patient(1)], [])
    table = folder / METADATA
    table.write_text(table.read_text().replace(column, spelt or "", 1))
    with pytest.raises(CorpusError, match=f"has no column {column}; it has"):
        Gmdb(kind="gmdb", folder=folder).outcomes(0)


@pytest.mark.parametrize("name", [METADATA, "gmdb_frequent_test_images_v1.0.9.csv"])
def test_tables_of_another_version_are_named(tmp_path, name):
    folder = database(tmp_path, [patient(1)], [])
    (folder / name).rename(folder / name.replace("1.0.9", "1.1.0"))
    with pytest.raises(CorpusError, match=rf"{name}: is not there, but .*v1.1.0.*: this reader knows version 1.0.9"):
        Gmdb(kind="gmdb", folder=folder).outcomes(0)


@pytest.mark.parametrize(
    "years", ["²", "٣", "3,5", "-3", "1e3", "999", "1e999", "nan", "inf", "three", "9" * 400, "P3Y"]
)
def test_an_age_of_gmdb_that_is_none_is_missing(tmp_path, here, years):
    assert of_gmdb(tmp_path, age_year=years, age_month="")["age_years"] is None


@pytest.mark.parametrize(("gender", "sex"), [("Female", "female"), ("MALE", "male"), ("unknown", None), ("²", None)])
def test_a_gender_of_gmdb_is_a_sex_or_none(tmp_path, here, gender, sex):
    assert of_gmdb(tmp_path, gender=gender)["sex"] == sex


def test_a_syndromes_number_of_other_digits_is_an_id_like_any_other(tmp_path):
    rows = [
        patient(1, internal_syndrome_id="²"),
        patient(2, internal_syndrome_id="10"),
        patient(3, internal_syndrome_id="9"),
    ]
    corpus = Gmdb(kind="gmdb", folder=database(tmp_path, rows, []))
    assert [label.id for label in corpus.labels()] == ["GMDB:9", "GMDB:10", "GMDB:²"]


@pytest.mark.parametrize("name", ["x" * 10_000, "a\0b", " ; "])
def test_a_syndromes_name_that_is_none_gives_way_to_its_id(tmp_path, here, name):
    assert of_gmdb(tmp_path, internal_syndrome_name=name, disorder_names="")["label_name"] == "1"


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 5000, "[1]", "{}", '{"1": 2}', "\xff", '{"1": "a"', "NaN"])
def test_a_label_list_of_gmdb_of_another_form_is_refused_in_one_message(tmp_path, text):
    (tmp_path / "list.json").write_text(text, encoding="latin-1")
    with pytest.raises(CorpusError, match="is no label list"):
        Gmdb(kind="gmdb", folder=tmp_path, label_list=tmp_path / "list.json").reader()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda line: line.replace("male", "m\udce9le"), {"1": ("wrong-field", "gender")}),
        (lambda line: line + "\tone\tmore", {"1": ("malformed-row", "row")}),
        (lambda line: line + "\n" + line, {}),
        (lambda line: line + "\n" + line.replace("male", "female"), {"1": ("two-metadata-rows", "image_id")}),
        # An open quote swallows all that follows: none of it is lost without a word.
        (
            lambda line: line.replace("\tmale", '\t"male'),
            {"1": ("malformed-row", "row")} | {i: ("no-metadata", "image_id") for i in "234"},
        ),
    ],
)
def test_a_line_of_gmdb_that_cannot_be_taken_apart_costs_its_images_alone(tmp_path, here, spoil, told):
    folder = database(tmp_path, [patient(1), patient(2), patient(3)], [patient(4)])
    table = folder / METADATA
    header, first, *rest = table.read_text().splitlines()
    table.write_bytes("\n".join([header, spoil(first), *rest]).encode("utf-8", "surrogateescape"))
    found = outcomes(Gmdb(kind="gmdb", folder=folder))
    refused = {r["refusal"]["case_id"]: (r["refusal"]["reason"], r["refusal"]["field"]) for r in found if r["refusal"]}
    assert refused == told
    assert len(found) == 4


@pytest.mark.parametrize("line", ['"a/1.png', "a/1.png,L,p,more", "a/1.png,\udce9,p", "x" * 200_000])
def test_a_line_of_an_image_table_that_cannot_be_taken_apart_costs_itself_alone(tmp_path, here, line):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(encoded())
    text = f"path,label,patient\na/1.png,L,p\n{line}\n"
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    first, second = outcomes(ImageFolder(kind="image_folder", path=tmp_path, table="labels.csv"))
    assert first["case"]["case_id"] == "a/1.png"
    assert second["refusal"]["reason"] in {"malformed-row", "wrong-field"}
    assert second["refusal"]["row"] >= 3


# PanNuke


def of_pannuke(folder: Path, types, images=None, count: int = 2, **how) -> list[tuple]:
    part, _ = write_fold(folder, 1, ["Breast"] * count, np.uint8)
    if images is not None:
        images(part)
    np.save(part / "types.npy", types)
    found = outcomes(PanNuke(kind="pannuke", folder=folder, folds={1: "train"}))
    return [r["case"]["label_id"] if r["case"] else r["refusal"]["reason"] for r in found]


@pytest.mark.parametrize(
    ("types", "told"),
    [
        (np.array(["Breast", "Colon"]), ["Breast", "Colon"]),
        (np.array([b"Breast", b"Colon"]), ["Breast", "Colon"]),
        (np.array([b"Breast", "Colón".encode("latin-1")]), ["Breast", "unknown-tissue"]),
        (np.array(["Breast", "\ud800"]), ["Breast", "unknown-tissue"]),
        (np.array(["Breast", ""]), ["Breast", "unknown-tissue"]),
        (np.array(["Breast", "breast"]), ["Breast", "unknown-tissue"]),
        (np.array([0x41, 0x110000], np.uint32).view("U1"), ["unknown-tissue", "unknown-tissue"]),
    ],
    ids=["text", "bytes", "latin-1", "surrogate", "empty", "case", "no code point"],
)
def test_types_of_text_or_bytes_are_names_and_what_is_none_costs_its_patch_alone(tmp_path, here, types, told):
    assert of_pannuke(tmp_path, types) == told


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (np.array([["Breast", "Colon"]]), r"of shape \(1, 2\); expected n names"),
        (np.array([1, 2]), "expected n names"),
        (np.array("Breast"), "expected n names"),
        (np.array([("Breast",)] * 2, [("type", "U6")]), "expected n names"),
        (np.array(["Breast"]), "1 names for 2 images"),
    ],
)
def test_types_of_another_form_are_refused_as_a_whole(tmp_path, here, types, message):
    with pytest.raises(CorpusError, match=message):
        of_pannuke(tmp_path, types)


def as_npz(part: Path) -> None:
    with (part / "images.npy").open("wb") as file:
        np.savez(file, images=np.zeros((2, 256, 256, 3), np.uint8))


def header(text: bytes):
    def write(part: Path) -> None:
        body = text.ljust(117) + b"\n"
        (part / "images.npy").write_bytes(
            b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body + bytes(2 * 196_608)
        )

    return write


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (as_npz, "is an archive of arrays"),
        (header(b"{"), "no array that can be mapped"),
        (header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 256, 256, 3), }" + b"[" * 40), "no array"),
        (header(b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 256, 256, 3), }"), "never loaded"),
        (header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-2, 256, 256, 3), }"), "no array|of shape"),
        (header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 256, 256, 3), }"), "no array"),
        (header(b"{'descr': '|S1', 'fortran_order': False, 'shape': (2, 256, 256, 3), }"), "holds bytes8"),
        (lambda part: np.save(part / "images.npy", np.float64(3)), r"of shape \(\)"),
        (lambda part: np.save(part / "images.npy", np.zeros((2, 3, 256, 256), np.uint8)), r"shape \(2, 3, 256, 256\)"),
        (lambda part: np.save(part / "images.npy", np.zeros((0, 256, 256, 3), np.uint8)), "2 names for 0 images"),
        (lambda part: (part / "images.npy").write_bytes(b""), "no array"),
    ],
)
def test_images_of_another_form_are_refused_as_a_whole_in_one_message(tmp_path, here, images, message):
    with pytest.raises(CorpusError, match=message):
        of_pannuke(tmp_path, np.array(["Breast", "Colon"]), images)


def test_a_fold_without_images_is_told(tmp_path, here):
    with pytest.raises(CorpusError, match=r"the folds of corpus.folds hold no images"):
        of_pannuke(tmp_path, np.array([], "U6"), count=0)


@pytest.mark.parametrize("dtype", ["float64", "float32", ">f8", "uint8"])
def test_values_of_every_published_type_are_the_same_pixels(tmp_path, here, dtype):
    _, images = write_fold(tmp_path, 1, ["Breast"], np.dtype(dtype))
    (row,) = outcomes(PanNuke(kind="pannuke", folder=tmp_path, folds={1: "train"}))
    assert (np.asarray(Image.open(io.BytesIO(row["case"]["image"]))) == images[0]).all()


def test_an_array_in_the_order_of_fortran_is_read_as_it_is(tmp_path, here):
    def fortran(part: Path) -> None:
        np.save(part / "images.npy", np.asfortranarray(np.load(part / "images.npy")))

    assert of_pannuke(tmp_path, np.array(["Breast", "Colon"]), fortran) == ["Breast", "Colon"]
