"""Requests and answers of version 1.

A case that is not in order is answered by a problem in its place; the others of its request are ranked. So
the description of a request promises only what makes the whole of it readable, and `CaseIn` says what a
case must be.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from mint_ray.records import Case, Line, Name, Phenotype, Sex
from mint_ray.service.problems import ProblemDetails
from mint_ray.tasks.base import GREY, Task

MAX_ANSWER = 100_000
IMAGE = "PNG, JPEG, TIFF, WebP or BMP, one picture"
EXAMPLE_IMAGE = b64encode(GREY).decode()


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
    """A finding, observed or excluded; `id` is that of a term in the task's vocabulary, where it is one."""

    id: Line = Field(default="", max_length=64)
    name: Name = Field(min_length=1, max_length=500)
    excluded: bool = False


class CaseIn(Strict):
    """One case: text, findings, demographics, image, in any combination that leaves something to see.

    What the task has no use for is not looked at.
    """

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


def rank_example(task: Task) -> dict[str, Any]:
    """A request to rank, of the task's own example."""
    case = task.example.model_dump(include={*CaseIn.model_fields} - {"image"}, exclude_defaults=True)
    for phenotype in case.get("phenotypes", []):
        phenotype.pop("modality", None)
    image = {"image": EXAMPLE_IMAGE} if task.reads("image") else {}
    return {"cases": [{"id": task.example.case_id, **case, **image}], "top_k": 3, "bottom_q": 1}


class RankRequest(Strict):
    """Cases to rank. A field of a case that breaks a rule costs that case alone."""

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
