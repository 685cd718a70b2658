import base64
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mint_ray.corpora.table import Table, read_line
from mint_ray.errors import CorpusError
from mint_ray.records import Case, Phenotype, to_table
from mint_ray.tasks.base import Label, save_labels
from tests.conftest import REPOSITORY
from tests.corpora.pictures import jpeg


def outcomes(path: Path) -> list[dict]:
    return Table(kind="table", path=path).outcomes(0).take_all()


def refused(path: Path) -> dict[int, tuple]:
    """Reason and field of each refusal by its row."""
    return {
        r["refusal"]["row"]: (r["refusal"]["reason"], r["refusal"]["field"]) for r in outcomes(path) if r["refusal"]
    }


def write_lines(path: Path, *lines) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


WHOLE = Case(
    case_id="a",
    group_id="g",
    split="test",
    label_id="L",
    label_name="a label",
    image=jpeg(),
    text="a note",
    phenotypes=[Phenotype(id="HP:0001250", name="Seizure", modality="image")],
    sex="other",
    age_years=2.5,
    ethnicity="e",
    synthetic=True,
)


def test_cases_in_parquet_come_back_as_they_were(tmp_path, local_ray):
    folder = tmp_path / "cases"
    folder.mkdir()
    pq.write_table(to_table([WHOLE, Case(case_id="b", group_id="g")], Case), folder / "x.parquet", row_group_size=1)
    found = {r["case"]["case_id"]: r["case"] for r in outcomes(folder)}
    assert found["a"] == WHOLE.model_dump() | {"source": "cases/x.parquet:1"}
    assert found["b"]["source"] == "cases/x.parquet:2"


def test_cases_in_lines_come_with_their_image_inside_or_beside(tmp_path, local_ray):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "b.jpg").write_bytes(jpeg())
    inside = WHOLE.model_dump(exclude={"source"}) | {"image": base64.b64encode(jpeg()).decode()}
    beside = {"case_id": "b", "label_id": None, "image_path": "faces/b.jpg"}
    write_lines(tmp_path / "cases.jsonl", inside, beside)
    first, second = (r["case"] for r in outcomes(tmp_path / "cases.jsonl"))
    assert first == WHOLE.model_dump() | {"source": "cases.jsonl:1"}
    assert (second["group_id"], second["label_id"], second["image"]) == ("b", None, jpeg())


def test_each_bad_line_is_refused_by_row_and_field(tmp_path, local_ray):
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    folder = tmp_path / "table"
    folder.mkdir()
    good = {"case_id": "a", "label_id": "L"}
    path = write_lines(
        folder / "cases.jsonl",
        good,
        "{no json",
        {"label_id": "L"},
        {"case_id": "a"},
        good | {"diagnosis": "x"},
        good | {"split": "holdout"},
        good | {"phenotypes": [{"id": "HP:1"}]},
        good | {"case_id": 7},
        good | {"case_id": ""},
        good | {"image": "no base64"},
        good | {"image": base64.b64encode(b"no image").decode()},
        good | {"image_path": "../secret.jpg"},
        good | {"image_path": "nowhere.jpg"},
        good | {"image": 7},
    )
    assert refused(path) == {
        2: ("no-json", ""),
        3: ("missing-field", "case_id"),
        4: ("missing-field", "label_id"),
        5: ("unknown-field", "diagnosis"),
        6: ("wrong-field", "split"),
        7: ("missing-field", "phenotypes.0.name"),
        8: ("wrong-field", "case_id"),
        9: ("missing-field", "case_id"),
        10: ("wrong-field", "image"),
        11: ("not-an-image", "image"),
        12: ("no-image-file", "image_path"),
        13: ("no-image-file", "image_path"),
        14: ("wrong-field", "image"),
    }


def test_a_bad_row_of_parquet_is_refused_and_the_rest_is_kept(tmp_path, local_ray):
    rows = {
        "case_id": ["a", "b", None, "d"],
        "label_id": ["L", "L", "L", None],
        "age_years": [float("nan"), 3.0, 1.0, None],
        "image": [None, b"no image", None, jpeg()],
    }
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    assert refused(tmp_path / "x.parquet") == {2: ("not-an-image", "image"), 3: ("missing-field", "case_id")}
    kept = [r["case"] for r in outcomes(tmp_path / "x.parquet") if r["case"]]
    assert [(c["case_id"], c["label_name"], c["age_years"]) for c in kept] == [("a", "L", None), ("d", None, None)]


def test_refusals_show_nothing_of_what_a_row_holds(tmp_path, local_ray):
    path = write_lines(tmp_path / "x.jsonl", {"case_id": "a", "label_id": "L", "sex": "Jane Doe", "text": ["Jane Doe"]})
    assert "Jane" not in str(outcomes(path))


def test_gzipped_lines_are_read(tmp_path, local_ray):
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
        file.write('{"case_id": "a", "label_id": "L"}\n')
    assert [r["case"]["case_id"] for r in outcomes(tmp_path / "x.jsonl.gz")] == ["a"]


def test_a_folder_of_parquet_and_lines_is_read_whole(tmp_path, local_ray):
    columns = {"case_id": [f"p{i}" for i in range(300)], "label_id": ["L"] * 300}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=100)
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    write_lines(tmp_path / "c.jsonl", *({"case_id": f"l{i}", "label_id": "L"} for i in range(300)), "{no json")
    found = outcomes(tmp_path)
    assert {r["case"]["case_id"] for r in found if r["case"]} == {f"{form}{i}" for form in "pl" for i in range(300)}
    assert sorted(r["refusal"]["reason"] for r in found if r["refusal"]) == ["no-json", "unreadable-file"]


def test_a_table_that_cannot_be_used_as_a_whole_says_which_column(tmp_path):
    def corpus(name: str, columns: dict) -> Table:
        pq.write_table(pa.table(columns), tmp_path / name)
        return Table(kind="table", path=tmp_path / name)

    with pytest.raises(CorpusError, match="columns that a case does not have: diagnosis"):
        corpus("a.parquet", {"case_id": ["a"], "label_id": ["L"], "diagnosis": ["x"]}).outcomes(0)
    with pytest.raises(CorpusError, match="no such column: label_id"):
        corpus("b.parquet", {"case_id": ["a"]}).outcomes(0)
    (tmp_path / "c.parquet").write_bytes(b"no parquet")
    with pytest.raises(CorpusError, match=r"c.parquet: ArrowInvalid: file; expected a Parquet file"):
        Table(kind="table", path=tmp_path / "c.parquet").outcomes(0)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(
        CorpusError, match=r"holds no .parquet, .jsonl.*; it holds 1 .txt: is not read here .first: notes.txt"
    ):
        Table(kind="table", path=tmp_path / "notes.txt").outcomes(0)


def test_a_label_list_beside_the_table_is_its_label_list(tmp_path):
    labels = [Label(id="L", name="one", synonyms=("uno",))]
    save_labels(labels, tmp_path / "labels.json")
    assert Table(kind="table", path=tmp_path, label_list=tmp_path / "labels.json").labels() == labels
    (tmp_path / "labels.json").write_text("[7]")
    with pytest.raises(CorpusError, match="is no label list"):
        Table(kind="table", path=tmp_path, label_list=tmp_path / "labels.json").labels()


def test_the_case_that_the_documentation_shows_can_be_read():
    text = (REPOSITORY / "docs" / "corpora.md").read_text().split("```json\n")[1].split("```")[0]
    case = read_line({"source": "x.jsonl", "row": 1, "text": text.encode(), "problem": None}, Path())
    assert case == Case.model_validate(json.loads(text) | {"source": "x.jsonl:1"})
