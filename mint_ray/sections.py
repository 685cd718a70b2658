"""The building blocks of the configuration: a strict section, and a section whose class its `kind` names.

Kinds of tasks, corpora and scorers are entry points of installed packages; see `mint_ray.plugins`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mint_ray import plugins

# `auto`: bf16 where the device has instructions for it, else fp32; see mint_ray.precision.
Precision = Literal["auto", "bf16", "fp32"]


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors; numbers are finite; values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*")
    @classmethod
    def _of_64_bits(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError("is an integer of more than 64 bits")
        return value


class KindSection(Section):
    """A section whose first key, `kind`, names the class that implements it, among the entry points of that group.

    Its `version` belongs to the fingerprints of the stages that it decides: raise it when the class comes to do something
    else with the same settings (another prompt, another way to read), or when a default changes.
    """

    entry_points: ClassVar[str]
    version: ClassVar[int] = 1
    kind: str


K = TypeVar("K", bound=KindSection)


def hardware(default: Any, **constraints: Any) -> Any:
    """A field that changes how fast a stage runs, never what comes out, so a resumed run may change it."""
    return Field(default=default, json_schema_extra={"hardware": True}, **constraints)


def result_settings(section: BaseModel | None) -> dict[str, Any]:
    """The section as plain data without its hardware fields: what a stage's result depends on; none if it is left out."""
    if section is None:
        return {}
    settings: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        if isinstance(extra := field.json_schema_extra, dict) and "hardware" in extra:
            continue
        value = getattr(section, name)
        plain = result_settings(value) if isinstance(value, BaseModel) else section.model_dump(mode="json")[name]
        # A set has another order in every process; a resumed run must find what it wrote.
        settings[name] = sorted(plain) if isinstance(value, (set, frozenset)) else plain
    return settings


def own_settings(section: BaseModel | None) -> dict[str, Any]:
    """What `result_settings` holds beside the defaults, and what has none: so a new setting changes no old fingerprint."""
    if section is None:
        return {}
    settings, defaults = result_settings(section), default_settings(section)
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if name in defaults and value == defaults[name]:
            continue
        inner = getattr(section, name)
        found[name] = own_settings(inner) if isinstance(inner, BaseModel) else value
    if isinstance(section, KindSection) and section.version != 1:
        found["version"] = section.version
    return found


def default_settings(section: BaseModel) -> dict[str, Any]:
    """The defaults of a section, in the form of `result_settings`; settings without one are left out."""
    fields = type(section).model_fields
    optional = {name: field for name, field in fields.items() if not field.is_required()}
    given: dict[str, Any] = {name: getattr(section, name) for name in fields}
    given |= {name: field.get_default(call_default_factory=True) for name, field in optional.items()}
    settings = result_settings(type(section).model_construct(**given))
    return {name: value for name, value in settings.items() if name in optional}


def default_of(settings: BaseModel, key: str) -> Any:
    """The default of a setting by its dotted key, as plain data; None where it has none."""
    *sections, name = key.split(".")
    found: Any = settings
    for section in sections:
        found = getattr(found, section, None)
    return default_settings(found).get(name) if isinstance(found, BaseModel) else None


def differing(first: Any, second: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Where two settings in plain data differ: the dotted key, and what each has there, None where it has nothing."""
    if isinstance(first, dict) and isinstance(second, dict):
        was, now = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
        names = [*now, *(name for name in was if name not in now)]
        return [
            found for name in names for found in differing(was.get(name), now.get(name), f"{key}.{name}".lstrip("."))
        ]
    return [] if first == second else [(key, first, second)]


def kinds(base: type[KindSection]) -> list[str]:
    """The names that `kind` may have in sections of this base."""
    return plugins.names(base.entry_points)


def kind_of(base: type[K], kind: Any) -> type[K]:
    """The class of a kind.

    Raises:
        ValueError: there is none by that name, it cannot be imported, or it is of another base.
    """
    try:
        found = plugins.load(base.entry_points, kind)
    except plugins.PartError as error:
        raise ValueError(f"kind {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(
            f"kind is {kind}, which is registered in {base.entry_points} and no subclass of {base.__name__}"
        )
    return found


def resolve_kind(base: type[K], value: Any) -> K:
    """Validate a section by the class that its `kind` names; raises ValueError with the kinds on offer."""
    if isinstance(value, base):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"expected a section whose kind is one of {', '.join(kinds(base))}")
    return kind_of(base, cast("dict[str, Any]", value).get("kind")).model_validate(value)
