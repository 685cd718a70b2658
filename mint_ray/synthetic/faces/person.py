"""One person's face: what the findings move on top of ordinary variation, and what no finding decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np

from mint_ray import hpo
from mint_ray.synthetic.faces.findings import FINDINGS, NOT_SEEN, PARAMETERS
from mint_ray.synthetic.faces.pen import BACKGROUNDS, HAIRS, IRISES, SHIRTS, SKINS, between

# A finding shows more in one patient than in another: its amount is multiplied by a number from this range.
EXPRESSION = (0.75, 1.25)


@cache
def effect(term_id: str) -> MappingProxyType[str, float]:
    """What a term moves, in standard deviations: its entry, else that of its nearest ancestors; empty: not drawn."""
    living = hpo.ontology()
    level = [term_id]
    while level:
        level = [i for i in level if i not in NOT_SEEN]
        if entries := [FINDINGS[i][1] for i in level if i in FINDINGS]:
            return MappingProxyType(_stronger(entries))
        level = [parent for i in level for parent in living.terms[i].parents]
    return MappingProxyType({})


def drawable(term_id: str) -> bool:
    """Whether a portrait shows the finding."""
    return bool(effect(term_id))


def _stronger(entries: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Findings together: two that push a parameter the same way do not add up, two opposed ones do."""
    up: dict[str, float] = {}
    down: dict[str, float] = {}
    for entry in entries:
        for name, amount in entry.items():
            up[name] = max(up.get(name, 0.0), amount)
            down[name] = min(down.get(name, 0.0), amount)
    return {name: up[name] + down[name] for name in up}


def face(term_ids: Iterable[str], rng: np.random.Generator, variation: float = 1.0) -> dict[str, float]:
    """The parameters of one person's face: neutral, plus `variation` times the ordinary one, plus the findings.

    The variation is drawn before the findings' expression, so that the same generator gives the same person
    with and without a finding.
    """
    person = dict(zip(PARAMETERS, np.clip(rng.standard_normal(len(PARAMETERS)), -2, 2), strict=True))
    entries = []
    for term_id in sorted(term_ids):
        expression = rng.uniform(*EXPRESSION)
        entries.append({name: amount * expression for name, amount in effect(term_id).items()})
    moved = _stronger(entries)
    return {
        name: neutral + sd * (variation * person[name] + moved.get(name, 0.0))
        for name, (neutral, sd) in PARAMETERS.items()
    }


def neutral_face(term_ids: Iterable[str] = ()) -> dict[str, float]:
    """The face of nobody in particular with findings of mean expression: what the table's entries look like."""
    moved = _stronger(effect(term_id) for term_id in term_ids)
    return {name: neutral + sd * moved.get(name, 0.0) for name, (neutral, sd) in PARAMETERS.items()}


@dataclass(frozen=True)
class Look:
    """What of a picture no finding decides: colours, hair style, and how the head stands before the camera."""

    skin: tuple[int, int, int] = SKINS[2]
    hair: tuple[int, int, int] = HAIRS[1]
    iris: tuple[int, int, int] = IRISES[1]
    background: tuple[int, int, int] = BACKGROUNDS[0]
    shirt: tuple[int, int, int] = SHIRTS[0]
    long_hair: float = 0.0
    parting: float = 0.0
    stubble: float = 0.0
    child: float = 0.0
    scale: float = 1.0
    tilt: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


def look(
    family: np.random.Generator, person: np.random.Generator, sex: str, age_years: float, variation: float
) -> Look:
    """A person's look: skin, hair and eyes as in the family, the rest the person's own.

    Args:
        variation: of the head's size, tilt and place in the picture; 1 is ordinary.
    """
    tone = (len(SKINS) - 1) * family.beta(1, 1.4)
    darkest = 4 if tone < 3 else 1
    hair = between(HAIRS, family.uniform(0, darkest))
    iris = between(IRISES, family.uniform(0, 4 if tone < 3 else 0.8))
    grown = np.clip((age_years - 14) / 6, 0, 1)
    return Look(
        skin=between(SKINS, tone + person.normal(0, 0.1)),
        hair=hair,
        iris=iris,
        background=BACKGROUNDS[person.integers(len(BACKGROUNDS))],
        shirt=SHIRTS[person.integers(len(SHIRTS))],
        long_hair=float(person.uniform(0.3, 1) if sex == "female" else person.uniform(0, 0.15)),
        parting=float(person.uniform(-0.6, 0.6)),
        stubble=float(grown * person.uniform(0, 0.5)) if sex == "male" else 0.0,
        child=float(np.clip(1 - age_years / 16, 0, 1)),
        scale=1 + variation * float(person.uniform(-0.04, 0.04)),
        tilt=variation * float(person.normal(0, 0.02)),
        shift=(variation * float(person.normal(0, 0.015)), variation * float(person.normal(0, 0.015))),
    )
