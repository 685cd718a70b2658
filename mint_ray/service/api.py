"""Requests and answers of version 1.

A case that is not in order is answered by a problem in its place; the others of its request are ranked. So
the description of a request promises only what makes the whole of it readable, and `CaseIn` says what a
case must be.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from mint_ray.records import Case, Line, Name, Phenotype, Sex
from mint_ray.service.problems import ProblemDetails

MAX_ANSWER = 100_000
IMAGE = "PNG, JPEG, TIFF, WebP or BMP, one picture"
EXAMPLE_IMAGE = (  # a grey PNG of 32 x 32 pixels
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAJklEQVR42u3NMQ0AAAwDoEqv9KrYsQQMkB6LQCAQCAQCgUAg+BIMLd4AWwUPN68AAAAASUVORK5CYII="
)


def _readable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain null characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return text


Text = Annotated[str, AfterValidator(_readable)]


class Strict(BaseModel):
    """From outside: no unknown fields, no guessing of types, nothing of it in an error or a repr."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    __str__ = __repr__


class Finding(Strict):
    """A term of the Human Phenotype Ontology, observed or excluded."""

    id: Line = Field(default="", max_length=64, examples=["HP:0000316"])
    name: Name = Field(min_length=1, max_length=500, examples=["Hypertelorism"])
    excluded: bool = False


class CaseIn(Strict):
    """One case: text, findings, demographics, image, in any combination that leaves something to see."""

    id: Text = Field(default="", max_length=200, description="given back with the ranking; use no name here")
    text: Text | None = Field(default=None, description="free text, e.g. a note")
    phenotypes: list[Finding] = []
    sex: Sex | None = None
    age_years: float | None = Field(default=None, ge=0, le=150)
    ethnicity: Line | None = Field(default=None, max_length=100)
    image: str | None = Field(
        default=None, description=f"{IMAGE}, in base64", json_schema_extra={"contentEncoding": "base64"}
    )

    def case(self, image: bytes | None) -> Case:
        """The record of the line; `image` is what the field holds, decoded."""
        phenotypes = [Phenotype(id=p.id, name=p.name, excluded=p.excluded) for p in self.phenotypes]
        return Case(
            case_id="asked",
            group_id="asked",
            text=self.text,
            phenotypes=phenotypes,
            sex=self.sex,
            age_years=self.age_years,
            ethnicity=self.ethnicity,
            image=image,
        )


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 3.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


AnyCase = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"$ref": "#/components/schemas/CaseIn"},
                {"description": "Anything else is answered by a problem in its place."},
            ]
        }
    ),
]
TopK = Annotated[
    int, Field(ge=1, le=MAX_ANSWER, description="labels from the head of the ranking"), BeforeValidator(_whole)
]
BottomQ = Annotated[int, Field(ge=0, le=MAX_ANSWER, description="labels from its end"), BeforeValidator(_whole)]

RANK_EXAMPLE = {
    "cases": [
        {
            "id": "case-1",
            "sex": "female",
            "age_years": 4.5,
            "phenotypes": [
                {"id": "HP:0001249", "name": "Intellectual disability"},
                {"id": "HP:0000316", "name": "Hypertelorism"},
            ],
            "image": EXAMPLE_IMAGE,
        },
        {"id": "case-2", "text": "Short stature, recurrent infections, prominent fingertip pads"},
    ],
    "top_k": 3,
    "bottom_q": 1,
}


class RankRequest(Strict):
    """Cases to rank. A field of a case that breaks a rule costs that case alone."""

    model_config = ConfigDict(json_schema_extra={"examples": [RANK_EXAMPLE]})

    cases: list[AnyCase] = Field(min_length=1)
    top_k: TopK = 10
    bottom_q: BottomQ = 0


class RankedLabel(BaseModel):
    """`score` is a log-probability; `rank` counts from 1."""

    rank: int
    id: str
    name: str
    score: float


class CaseRanking(BaseModel):
    """A case in its place among the cases of the request."""

    outcome: Literal["ranking"] = "ranking"
    id: str
    top: list[RankedLabel]
    bottom: list[RankedLabel] = []


class CaseProblem(BaseModel):
    """A case that could not be ranked, and why. `id` is null where none could be read."""

    outcome: Literal["problem"] = "problem"
    id: str | None
    problem: ProblemDetails


class ScorerName(BaseModel):
    name: str
    digest: str


class RankResponse(BaseModel):
    """One result for each case, in the order of the request."""

    scorer: ScorerName
    results: list[Annotated[CaseRanking | CaseProblem, Field(discriminator="outcome")]]


class UploadResponse(BaseModel):
    """The ranking of one case."""

    scorer: ScorerName
    result: CaseRanking


class ScorerCard(ScorerName):
    """What is being served, and the bounds on what may be sent."""

    task: str
    modalities: list[str]
    labels: int
    limits: dict[str, int | float]
    image_formats: list[str]


class LabelOut(BaseModel):
    id: str
    name: str
    synonyms: list[str] = []


class LabelsResponse(BaseModel):
    labels: list[LabelOut]


class Health(BaseModel):
    status: Literal["ok"] = "ok"
