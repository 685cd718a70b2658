"""Synthetic patients of rare diseases: findings drawn by annotated frequency, a drawn face in place of a photograph.

What a portrait shows (`mint_ray.synthetic.faces`) is in the picture and in no text: a phenotype of modality
`image`. Findings of the face that it cannot show are not recorded at all. Everything else is text, with what
records of real patients suffer from: findings missing, put less precisely, beside the point, or excluded.
A patient depends on the seed, the disease and the patient's number alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from mint_ray import hpo
from mint_ray.corpora.base import Corpus, drawn
from mint_ray.errors import CorpusError
from mint_ray.records import Case, Phenotype, Sex
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import disease_label

if TYPE_CHECKING:
    import numpy as np
    import ray.data

SOURCE = "simulated patients"
ONE_SEX = {"female": "HP:0010461", "male": "HP:0010460"}  # whom the branches of male and female genitalia spare


class SimulatedPatients(Corpus):
    """Patients of a number of diseases, or of those named. Every case is marked synthetic.

    A number takes the diseases whose patients show the most in a drawn face, on average, and that have at least
    `min_facial_terms` such findings; named diseases are taken as they are.
    """

    diseases: int | Literal["all"] | tuple[str, ...] = Field(
        default=24, description="how many, their OMIM ids, or all that have findings to draw from"
    )
    faces: bool = Field(default=True, description="draw a portrait; without, facial findings are text as all others")
    min_facial_terms: int = Field(
        default=5, ge=0, description="least drawable facial findings of a disease that is not named"
    )
    patients_per_disease: int = Field(default=36, ge=1)
    patients_per_group: int = Field(
        default=1, ge=1, description="patients of one simulated family, alike in skin, hair and eyes"
    )
    missing: float = Field(
        default=0.85, ge=0, le=1, description="share of a patient's text findings that nobody recorded"
    )
    imprecise: float = Field(
        default=0.4, ge=0, le=1, description="share of the recorded ones put as an ancestor of the term"
    )
    noise: float = Field(
        default=1.5, ge=0, description="mean number of unrelated findings a patient, from all chosen diseases"
    )
    excluded: float = Field(
        default=1.0, ge=0, description="mean number of findings looked for and not found, a patient"
    )
    max_text_terms: int = Field(default=6, ge=1, description="most observed findings in a patient's text")
    female: float = Field(default=0.5, ge=0, le=1, description="share of girls and women")
    ages: tuple[float, float] = Field(
        default=(0.5, 30.0), description="least and greatest age in years; most are children"
    )
    variation: float = Field(default=1.0, ge=0, le=3, description="of faces between people, in shape and pose; 0: none")
    image_size: int = Field(default=96, ge=32, le=1024, description="pixels of a side")

    @field_validator("diseases", mode="before")
    @classmethod
    def _known(cls, diseases: Any) -> Any:
        if diseases == "all":
            return diseases
        if not isinstance(diseases, list | tuple):
            if isinstance(diseases, int) and diseases < 2:
                raise ValueError("there must be two diseases at least to tell apart")
            return diseases
        known = hpo.annotated(map(str, diseases))
        if unknown := [d for d in map(str, diseases) if d not in known]:
            raise ValueError("; ".join(f"no OMIM disease with HPO annotations is {d}, {_nearest(d)}" for d in unknown))
        if len(set(diseases)) < max(len(diseases), 2):
            raise ValueError("name two different diseases at least, and each of them once")
        return diseases

    @model_validator(mode="after")
    def _ages_in_order(self):
        youngest, oldest = self.ages
        if not 0 <= youngest <= oldest <= 120:
            raise ValueError(f"ages {youngest:g} to {oldest:g}: expected 0 <= least <= greatest <= 120")
        return self

    def label_count(self) -> int | None:
        return self.diseases if isinstance(self.diseases, int) else len(self.disease_ids())

    def labels(self) -> list[Label] | None:
        return [disease_label(disease_id) for disease_id in self.disease_ids()]

    def disease_ids(self) -> tuple[str, ...]:
        """The diseases in the order of their labels.

        Raises:
            CorpusError: a number was asked for, and fewer diseases have enough facial findings.
        """
        if self.diseases == "all":
            return tuple(hpo.diseases())
        if not isinstance(self.diseases, int):
            return self.diseases
        chosen = _most_facial(self.min_facial_terms)
        if len(chosen) < self.diseases:
            raise CorpusError(
                f"corpus.diseases is {self.diseases}, but only {len(chosen)} diseases have {self.min_facial_terms} facial "
                "findings that can be drawn: lower corpus.diseases or corpus.min_facial_terms"
            )
        return chosen[: self.diseases]

    def outcomes(self, seed: int) -> ray.data.Dataset:
        return self.outcomes_without(seed, None)

    def outcomes_without(self, seed: int, without: hpo.Withheld | None) -> ray.data.Dataset:
        patients = self.patients_per_disease * len(self.drawable(without))
        return drawn(patients, partial(self.patient, seed=seed, without=without))

    def drawable(self, without: hpo.Withheld | None) -> tuple[str, ...]:
        """The diseases that patients can be drawn of: those of which the annotations still know a finding."""
        return _drawable(self, without)

    def patient(self, number: int, seed: int, without: hpo.Withheld | None = None) -> Case:
        """The case of that number; diseases take turns, so that any stretch of numbers has all of them."""
        disease_ids = self.drawable(without)
        index, which = divmod(number, len(disease_ids))
        return Draw(self, disease_ids[which], index, seed, without).case()


@hpo.remembered(maxsize=4)
def _drawable(settings: SimulatedPatients, without: hpo.Withheld | None) -> tuple[str, ...]:
    known = hpo.diseases(without)
    return tuple(disease_id for disease_id in settings.disease_ids() if known[disease_id].frequencies)


@dataclass(frozen=True)
class Profile:
    """A disease's annotated frequencies, 0 to 1, by where its findings show; each by term id."""

    image: dict[str, float]
    text: dict[str, float]


@hpo.remembered(maxsize=None)
def profile(disease_id: str, faces: bool = True, without: hpo.Withheld | None = None) -> Profile:
    """The findings of a disease, less those of the face that a drawn portrait cannot show; all of them without faces."""
    frequencies = hpo.diseases(without)[disease_id].frequencies
    if not faces:
        return Profile(image={}, text=frequencies)
    seen = {
        modality: {t: f for t, f in frequencies.items() if shown_in(t) == modality} for modality in ("image", "text")
    }
    return Profile(**seen)


@hpo.remembered(maxsize=None)
def shown_in(term_id: str) -> str | None:
    """`image` where a drawn portrait shows the finding, else `text`; None: of the face, and not drawn."""
    from mint_ray.synthetic.faces import drawable

    if drawable(term_id):
        return "image"
    return None if hpo.FACE in hpo.ontology().ancestors(term_id) else "text"


class Draw:
    """The drawing of one patient: what the patient has, then what was recorded of it, then the picture."""

    def __init__(
        self, settings: SimulatedPatients, disease_id: str, index: int, seed: int, without: hpo.Withheld | None = None
    ):
        import numpy as np

        self.settings, self.disease_id, self.without = settings, disease_id, without
        self.profile = profile(disease_id, settings.faces, without)
        self.family = index // settings.patients_per_group
        self.name = f"synthetic-{disease_id.removeprefix('OMIM:')}-{index:05d}"
        number = int(disease_id.removeprefix("OMIM:"))
        self.rng = np.random.default_rng([seed, number, index])
        self.family_rng = np.random.default_rng([seed, number, self.family, 1])

    def case(self) -> Case:
        settings, rng = self.settings, self.rng
        sex: Sex = "female" if rng.random() < settings.female else "male"
        youngest, oldest = settings.ages
        age = round(youngest + (oldest - youngest) * rng.beta(1, 2), 1)
        phenotypes = self.phenotypes(sex)
        label = disease_label(self.disease_id)
        return Case(
            case_id=self.name,
            group_id=f"synthetic-{self.disease_id.removeprefix('OMIM:')}-family-{self.family:05d}",
            label_id=label.id,
            label_name=label.name,
            image=self.picture([p.id for p in phenotypes if p.modality == "image"], sex, age)
            if settings.faces
            else None,
            phenotypes=phenotypes,
            sex=sex,
            age_years=age,
            synthetic=True,
            source=SOURCE,
        )

    def phenotypes(self, sex: Sex) -> list[Phenotype]:
        """What the text records, what was looked for and not found, what the picture shows."""
        in_image = self.draw_findings(self.profile.image, sex)
        in_text = self.draw_findings(self.profile.text, sex)
        observed = self.record(in_text, sex)
        excluded = self.exclude({*in_text, *observed}, sex)
        return [
            *(_phenotype(term_id) for term_id in observed),
            *(_phenotype(term_id, excluded=True) for term_id in excluded),
            *(_phenotype(term_id, modality="image") for term_id in in_image),
        ]

    @property
    def differential(self) -> tuple[np.ndarray, np.ndarray]:
        return _differential(self.settings, self.without)

    def draw_findings(self, frequencies: dict[str, float], sex: Sex) -> list[str]:
        """Each finding with its annotated frequency."""
        return [t for t, f in sorted(frequencies.items()) if self.rng.random() < f and _possible(t, sex)]

    def record(self, findings: list[str], sex: Sex) -> list[str]:
        """What the text says of what the patient has: some missing, some imprecise, some unrelated; in no order."""
        settings, rng = self.settings, self.rng
        kept = [t for t in findings if rng.random() >= settings.missing]
        told = [self.imprecise(t) if rng.random() < settings.imprecise else t for t in kept]
        terms, weights = self.differential
        noise = rng.choice(terms, size=rng.poisson(settings.noise), p=weights)
        told += [t for t in noise.tolist() if _possible(t, sex)]
        return rng.permutation(list(dict.fromkeys(told))).tolist()[: settings.max_text_terms]

    def imprecise(self, term_id: str) -> str:
        """A parent or a grandparent; the term itself where only the ontology's top is above it."""
        above = _two_above(term_id)
        return above[self.rng.integers(len(above))] if above else term_id

    def exclude(self, present: set[str], sex: Sex) -> list[str]:
        """Findings of the other diseases that this patient does not have, nor any finding below them."""
        terms, weights = self.differential
        has = {a for t in present for a in hpo.ontology().ancestors(t)}
        drawn = self.rng.choice(terms, size=self.rng.poisson(self.settings.excluded), p=weights)
        return [t for t in dict.fromkeys(drawn.tolist()) if t not in has and _possible(t, sex)]

    def picture(self, findings: list[str], sex: Sex, age: float) -> bytes:
        from mint_ray.synthetic import faces

        settings = self.settings
        look = faces.look(self.family_rng, self.rng, sex, age, settings.variation)
        face = faces.face(findings, self.rng, settings.variation)
        return faces.encode_png(faces.portrait(face, look, settings.image_size))


def _phenotype(term_id: str, **how: Any) -> Phenotype:
    return Phenotype(id=term_id, name=hpo.ontology().terms[term_id].name, **how)


def _nearest(unknown: str) -> str:
    """The disease that a wrong id, or a name, may have meant: by number, or by likeness."""
    names = hpo.disease_names()
    number = unknown.upper().removeprefix("OMIM:")
    if number.isdecimal():
        nearest = min(names, key=lambda disease_id: abs(int(disease_id.removeprefix("OMIM:")) - int(number)))
    else:
        from rapidfuzz import process

        _, _, nearest = process.extractOne(unknown, names, processor=str.lower)
    return f"nearest is {nearest} ({names[nearest]})"


@hpo.remembered(maxsize=None)
def _most_facial(least: int) -> tuple[str, ...]:
    """Diseases with so many drawable findings, and any in text; those first that show the most on average."""
    eligible = [d for d in hpo.diseases() if len(profile(d).image) >= least and profile(d).text]
    return tuple(sorted(eligible, key=lambda d: (-sum(profile(d).image.values()), d)))


@hpo.remembered(maxsize=None)
def _possible(term_id: str, sex: Sex) -> bool:
    return ONE_SEX.get(sex) not in hpo.ontology().ancestors(term_id)


@hpo.remembered(maxsize=None)
def _two_above(term_id: str) -> tuple[str, ...]:
    """Parents and their parents, but for the top of the ontology and its organ systems."""
    living = hpo.ontology()
    too_vague = {hpo.PHENOTYPIC_ABNORMALITY, *living.children[hpo.PHENOTYPIC_ABNORMALITY]}
    parents = set(living.terms[term_id].parents)
    above = parents | {g for p in parents for g in living.terms[p].parents}
    return tuple(sorted(t for t in above - too_vague if hpo.PHENOTYPIC_ABNORMALITY in living.ancestors(t)))


def _weighted(terms: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    ids, counts = np.unique(list(terms), return_counts=True)
    return ids, counts / counts.sum()


@hpo.remembered(maxsize=None)
def _differential(settings: SimulatedPatients, without: hpo.Withheld | None) -> tuple[np.ndarray, np.ndarray]:
    """The text findings of the diseases, and how many have each: what else one finds in such patients, or looks for."""
    return _weighted(t for d in settings.drawable(without) for t in profile(d, settings.faces, without).text)
