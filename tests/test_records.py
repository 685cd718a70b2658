"""Records carry their Arrow schema, survive Parquet, and show ids alone."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mint_ray.records import (
    MAX_CHARACTERS,
    Answer,
    Case,
    Phenotype,
    PreferencePair,
    Refusal,
    arrow_schema,
    as_stored,
    from_table,
    plain_values,
    to_table,
)


def a_case(**changes) -> Case:
    phenotypes = [Phenotype(id="HP:0000316", name="Hypertelorism", modality="image")]
    return Case(case_id="c1", group_id="g1", text="a private note", image=b"\x89PNG", phenotypes=phenotypes, **changes)


def test_a_case_survives_parquet(tmp_path):
    pq.write_table(to_table([a_case(age_years=3.5), a_case(split="test")], Case), tmp_path / "part.parquet")
    assert list(from_table(pq.read_table(tmp_path / "part.parquet"), Case)) == [
        a_case(age_years=3.5),
        a_case(split="test"),
    ]


def test_the_schema_of_no_rows_is_the_schema_of_many():
    assert to_table([], PreferencePair).schema == arrow_schema(PreferencePair)


def test_the_arrow_types_follow_the_annotations():
    schema = arrow_schema(Case)
    assert schema.field("image").type == pa.binary()
    assert schema.field("age_years").type == pa.float64()
    assert schema.field("split").type == pa.string()
    assert schema.field("case_id").type == schema.field("ethnicity").type == pa.string()
    assert schema.field("publications").type == pa.list_(pa.list_(pa.string()))
    assert schema.field("phenotypes").type.value_type.field("excluded").type == pa.bool_()
    assert arrow_schema(Answer).field("prompt_tokens").type == pa.int64()


def test_a_repr_shows_no_patient():
    assert repr(a_case()) == str(a_case()) == "Case(c1)"
    assert "Hypertelorism" not in repr(a_case().phenotypes)


def test_a_validation_error_shows_no_patient():
    with pytest.raises(ValidationError) as caught:
        Case(case_id="c1", group_id="g1", text=["a private note"])
    assert "private" not in str(caught.value)


def refused(**changes) -> tuple[str, str]:
    """Field and rule of the one thing that is wrong with a case."""
    with pytest.raises(ValidationError) as caught:
        Case(**({"case_id": "c1", "group_id": "g1"} | changes))
    (error,) = caught.value.errors(include_input=False)
    return ".".join(map(str, error["loc"])), error["type"]


@pytest.mark.parametrize("age", [-0.1, 150.1, 1e999, -1e999, float("nan"), "P9Y"])
def test_an_age_that_nobody_has_is_no_age(age):
    assert refused(age_years=age)[0] == "age_years"


@pytest.mark.parametrize("age", [0, 0.0, 150, 1e-300])
def test_an_age_within_bounds_is_one(age):
    assert a_case(age_years=age).age_years == age


TOO_LONG = "x" * (MAX_CHARACTERS + 1)
IDS, NAMES = ["case_id", "group_id", "label_id"], ["label_name"]


@pytest.mark.parametrize("field", [*IDS, *NAMES])
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "missing"),
        (" \t", None),
        ("\ud800", "lone_surrogate"),
        ("a\0b", "control_character"),
        ("\x1b[2J", "control_character"),
        ("\x9b2J", "control_character"),
        (TOO_LONG, "too_long"),
        ("x" * 10_000, "too_long"),
    ],
)
def test_ids_and_names_are_neither_blank_nor_endless_nor_unwritable(field, text, rule):
    found, why = refused(**{field: text})
    assert found == field and (rule is None or why == rule)


@pytest.mark.parametrize("field", IDS)
@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\tb", "a\u2028b", "a\x85b"])
def test_an_id_of_several_lines_is_refused_and_any_other_is_kept_as_it_is(field, text):
    assert refused(**{field: text}) == (field, "control_character")
    odd = "  Ärzte 患者/1; $x^$ '\" \u00a0\u202e"
    assert getattr(Case(**({"case_id": "c", "group_id": "g"} | {field: odd})), field) == odd


def test_a_name_of_several_lines_becomes_one_line():
    case = Case(
        case_id="c",
        group_id="g",
        label_name=" Kabuki\n syndrome\t1\u2028",
        label_synonyms=["Niikawa\r\nKuroki "],
        ethnicity="a\nb",
        phenotypes=[Phenotype(id="", name="long\nphiltrum")],
    )
    assert (case.label_name, case.label_synonyms, case.ethnicity) == ("Kabuki syndrome 1", ["Niikawa Kuroki"], "a b")
    assert case.phenotypes[0].name == "long philtrum"


def test_a_note_keeps_its_lines_and_must_be_writable():
    assert a_case().model_copy().text == "a private note"
    assert Case(case_id="c", group_id="g", text="one\n\ttwo" * 2000).text == "one\n\ttwo" * 2000
    assert refused(text="a \udcff") == ("text", "lone_surrogate")


@pytest.mark.parametrize("changes", [{"name": " "}, {"name": "x\0"}, {"id": "\ud800"}, {"id": TOO_LONG}])
def test_a_finding_has_a_name_that_can_be_read(changes):
    with pytest.raises(ValidationError):
        Phenotype(**({"id": "HP:1", "name": "n"} | changes))


def test_a_refusal_can_be_written_whatever_it_speaks_of():
    refusal = Refusal(
        source="a\udcff\n.json", case_id="\ud800", reason="r", field="x\0", seen="y" * 10_000, expected="z\x1b"
    )
    (row,) = to_table([refusal], Refusal).to_pylist()
    assert (row["source"], row["case_id"]) == ("a\\udcff\\x0a.json", "\\ud800")
    assert (row["field"], len(row["seen"]), row["expected"]) == ("x\\x00", 2000, "z\\x1b")
    assert Case(case_id="c", group_id="g", source="\udcff").source == "\\udcff"


def test_a_case_of_an_earlier_version_is_read():
    old = pa.table({"case_id": ["c"], "group_id": ["g"]})
    assert list(from_table(old, Case)) == [Case(case_id="c", group_id="g")]


def test_records_that_were_stored_come_back_as_they_were_without_another_check():
    finding = Phenotype(id="HP:0001252", name="Hypotonia")
    cases = [Case(case_id=f"c{i}", group_id="g", phenotypes=[finding] * i, image=b"png") for i in range(3)]
    found = list(as_stored(to_table(cases, Case), Case))
    assert found == cases and found[2].phenotypes[0] is found[2].phenotypes[1]
    assert list(as_stored(to_table([], Case), Case)) == []


def test_findings_that_an_earlier_table_had_are_the_same_objects():
    known = {}
    seen, other = (
        Phenotype(id="HP:0001252", name="Hypotonia"),
        Phenotype(id="HP:0001252", name="Hypotonia", excluded=True),
    )
    tables = [to_table([Case(case_id="c", group_id="g", phenotypes=each)], Case) for each in ([seen], [other, seen])]
    first, second = (case for table in tables for case in as_stored(table, Case, known))
    assert second.phenotypes == [other, seen] and second.phenotypes[1] is first.phenotypes[0] and len(known) == 2


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", None, "ü"], pa.string()),
        ([b"\x00", None], pa.binary()),
        ([True, False], pa.bool_()),
        ([True, None], pa.bool_()),
        ([1, 2**60 + 1, None], pa.int64()),
        ([0.1, None], pa.float64()),
        ([["a"], [], ["b", None]], pa.list_(pa.string())),
        ([["a"], None], pa.list_(pa.string())),
        ([[["a", "b"], []], [], [["c"]]], pa.list_(pa.list_(pa.string()))),
        ([[{"id": "a"}], []], pa.list_(pa.struct({"id": pa.string()}))),
    ],
)
def test_plain_values_are_those_of_arrow(values, kind):
    for array in (pa.array(values, kind), pa.array([*values, *values], kind)[1 : len(values) + 1], pa.array([], kind)):
        found = plain_values(array)
        assert found == array.to_pylist() and list(map(type, found)) == list(map(type, array.to_pylist()))
