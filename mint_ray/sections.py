"""The building blocks of the configuration: a strict section, and a section whose class its `kind` names.

Every module of `mint_ray.tasks`, `mint_ray.corpora` and `mint_ray.scorers` that sets `KIND` to a
`KindSection` subclass is one kind, by the module's name. Adding a kind is adding a module.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import reprlib
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

# `auto`: bf16 where the device has instructions for it, else fp32; see mint_ray.precision.
Precision = Literal["auto", "bf16", "fp32"]


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors; numbers are finite; values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _of_64_bits(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError("is an integer of more than 64 bits")
        return value


class KindSection(Section):
    """A section whose first key, `kind`, names the module that implements it."""

    kind: str


def hardware(default: Any, **constraints: Any) -> Any:
    """A field that changes how fast a stage runs, never what comes out, so a resumed run may change it."""
    return Field(default=default, json_schema_extra={"hardware": True}, **constraints)


def result_settings(section: BaseModel) -> dict[str, Any]:
    """The section as plain data without its hardware fields: what a stage's result depends on."""
    settings: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        if isinstance(extra := field.json_schema_extra, dict) and "hardware" in extra:
            continue
        value = getattr(section, name)
        plain = result_settings(value) if isinstance(value, BaseModel) else section.model_dump(mode="json")[name]
        # A set has another order in every process; a resumed run must find what it wrote.
        settings[name] = sorted(plain) if isinstance(value, (set, frozenset)) else plain
    return settings


def differing(first: Any, second: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Where two settings in plain data differ: the dotted key, and what each has there, None where it has nothing."""
    if isinstance(first, dict) and isinstance(second, dict):
        was, now = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
        names = [*now, *(name for name in was if name not in now)]
        return [
            found for name in names for found in differing(was.get(name), now.get(name), f"{key}.{name}".lstrip("."))
        ]
    return [] if first == second else [(key, first, second)]


def kinds(package: str) -> list[str]:
    """The kinds that a package offers: its modules, but for the shared ones."""
    return sorted(name for name in _modules(package) if hasattr(importlib.import_module(f"{package}.{name}"), "KIND"))


def _modules(package: str) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)]


def kind_of(package: str, kind: Any) -> type[KindSection] | None:
    """The class of a kind; None where the package has none by that name."""
    module = importlib.import_module(f"{package}.{kind}") if kind in _modules(package) else None
    return getattr(module, "KIND", None)


def resolve_kind(package: str, value: Any) -> KindSection:
    """Validate a section by the class that its `kind` names; raises ValueError with the kinds on offer."""
    if isinstance(value, KindSection):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"expected a section whose kind is one of {', '.join(kinds(package))}")
    kind = cast("dict[str, Any]", value).get("kind")
    if section := kind_of(package, kind):
        return section.model_validate(value)
    known = kinds(package)
    near = difflib.get_close_matches(kind, known, n=1) if isinstance(kind, str) else []
    hint = f"did you mean {near[0]}? Expected" if near else "expected"
    raise ValueError(f"kind is {reprlib.repr(kind)}; {hint} one of {', '.join(known)}")
