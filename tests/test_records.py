"""Records carry their Arrow schema, survive Parquet, and show ids alone."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mint_ray.records import Answer, Case, Phenotype, PreferencePair, arrow_schema, from_table, to_table


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
    assert schema.field("phenotypes").type.value_type.field("excluded").type == pa.bool_()
    assert arrow_schema(Answer).field("prompt_tokens").type == pa.int64()


def test_a_repr_shows_no_patient():
    assert repr(a_case()) == str(a_case()) == "Case(c1)"
    assert "Hypertelorism" not in repr(a_case().phenotypes)


def test_a_validation_error_shows_no_patient():
    with pytest.raises(ValidationError) as caught:
        Case(case_id="c1", group_id="g1", text=["a private note"])
    assert "private" not in str(caught.value)
