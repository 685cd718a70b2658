"""A Serve configuration file, checked in full before anything starts.

The keys are Ray Serve's own, those that both services need. Others are refused: what is silently left out of a file that
decides who may ask, and by how much, is not noticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, Field, ValidationError, model_validator

from mint_ray.errors import ConfigError
from mint_ray.runs import open_run
from mint_ray.sections import Section
from mint_ray.service.settings import HttpSection
from mint_ray.yaml_text import read_settings


def _prefix(value: str) -> str:
    if not value.startswith("/") or (value != "/" and value.endswith("/")) or set(value) & set("{}?#% \t\r\n"):
        raise ValueError("expected / or an address such as /scorer: it begins with / and does not end with it")
    return value


class HttpOptions(Section):
    """Where Serve listens."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8000, ge=1, le=65535)
    root_path: Annotated[str, AfterValidator(lambda value: value and _prefix(value))] = ""
    request_timeout_s: float | None = Field(default=None, gt=0)
    keep_alive_timeout_s: int = Field(default=90, ge=1)


class Application(Section):
    """One application: its builder, and the builder's arguments."""

    name: str = Field(default="default", min_length=1)
    route_prefix: Annotated[str, AfterValidator(_prefix)] = "/"
    import_path: str = Field(description="module:function, e.g. deployments.scorer:build")
    args: dict[str, Any] = {}


class ServiceFile(Section):
    """What `python -m mint_ray.service` takes of a Serve configuration."""

    proxy_location: Literal["HeadOnly", "EveryNode"] = "HeadOnly"
    http_options: HttpOptions = HttpOptions()
    logging_config: dict[str, Any] | None = Field(
        default=None, description="for `serve run`; here no request is logged"
    )
    applications: list[Application] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self):
        for key in ("name", "route_prefix"):
            (value, count), *_ = Counter(getattr(each, key) for each in self.applications).most_common(1)
            if count > 1:
                raise ValueError(f"applications: {count} have the {key} {value!r}; each needs one of its own")
        return self


def read_file(path: Path) -> ServiceFile:
    """A file whose shape is right.

    Raises:
        ConfigError: with every problem.
    """
    return _validated(ServiceFile, read_settings(path, "keys", "deployments/scorer.yaml"), "")


def file_of_run(folder: Path, models: bool) -> ServiceFile:
    """What serves a run's scorer on this machine, or its language models, as deployments/ has it for the demo.

    Raises:
        RunError: there is no such run, or it has not come so far.
    """
    run = open_run(folder)
    _ = run.stage(
        "alignment" if models else "scorer"
    ).told  # complete; whether today's code would make the same is no matter
    if models:
        served = Application(name="models", import_path="mint_ray.service.chat:application", args={"run": str(run.dir)})
        return ServiceFile(http_options=HttpOptions(port=8001), applications=[served])
    args = {"scorer": str(run.stage("scorer").path), "task": run.config.task.model_dump(mode="json")}
    served = Application(name="scorer", import_path="mint_ray.service.deployment:application", args=args)
    return ServiceFile(applications=[served])


def bound(application: Application, host: str) -> tuple[Callable[[Any], Any], HttpSection]:
    """An application's builder and its checked arguments, whose token goes with the address.

    Raises:
        ConfigError: the builder is not there, or the arguments are wrong.
    """
    builder, section = _builder(application.import_path)
    args = _validated(section, application.args, "args.")
    args.access.check(host)
    return builder, args


def _builder(import_path: str) -> tuple[Callable[[Any], Any], type[HttpSection]]:
    """A function by its name, and what it takes."""
    module, _, function = import_path.partition(":")
    try:
        builder = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            [f"import_path: {import_path!r} cannot be imported ({error}); start in the repository's root"]
        ) from None
    hints = get_type_hints(builder) if isfunction(builder) else {}
    taken = next((hint for name, hint in hints.items() if name != "return"), None)
    if not (isclass(taken) and issubclass(taken, HttpSection)):
        raise ConfigError([f"import_path: {import_path!r} is no builder; see deployments/scorer.py"])
    return builder, taken


def _validated(section: type[Section], data: dict, prefix: str) -> Any:
    try:
        return section.model_validate(data)
    except ValidationError as error:
        raise ConfigError([f"{prefix}{_key(e['loc'])}{e['msg']}" for e in error.errors(include_input=False)]) from None


def _key(location: tuple) -> str:
    return f"{'.'.join(str(part)[:100] for part in location)}: " if location else ""
