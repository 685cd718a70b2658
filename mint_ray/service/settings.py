"""What an operator may set. Imports neither ray nor torch, so that a wrong value is refused at once."""

from __future__ import annotations

import ipaddress
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from mint_ray.config import EngineSection
from mint_ray.errors import ConfigError
from mint_ray.sections import Section, resolve_kind
from mint_ray.storage import Location
from mint_ray.tasks.base import Task
from mint_ray.transport import TOKEN

MEBI = 2**20
BASE, ALIGNED = "base", "aligned"  # as inference.models names them


class HttpLimits(Section):
    """Bounds of any service here, each refused with its own problem code. Bytes, pixels, characters, counts; seconds."""

    body_bytes: int = Field(default=32 * MEBI, ge=1024)
    image_bytes: int = Field(default=10 * MEBI, ge=64)
    image_pixels: int = Field(default=4096 * 4096, ge=256, description="by the header, before anything is decoded")
    text_chars: int = Field(default=20_000, ge=1, description="of a case")
    phenotypes: int = Field(default=200, ge=1, description="of a case")
    json_depth: int = Field(default=8, ge=4)
    json_items: int = Field(
        default=200_000, ge=100, description="commas and brackets in a body: what JSON costs once parsed"
    )
    body_seconds: float = Field(default=20.0, gt=0, description="for a request's body to arrive")
    request_seconds: float = Field(default=30.0, gt=0, description="from a request's first byte to its answer")
    requests: int = Field(default=256, ge=1, description="in flight, a replica")
    bytes_in_flight: int = Field(default=256 * MEBI, ge=1024, description="bodies held at one time, a replica")
    retry_after_seconds: int = Field(default=1, ge=1)


class LimitsSection(HttpLimits):
    """Bounds of the scorer's service. Counts."""

    cases: int = Field(default=64, ge=1, description="in one request")
    queued_cases: int = Field(default=512, ge=1, description="accepted and not yet answered, a replica")

    @model_validator(mode="after")
    def _a_full_request_fits(self):
        if self.cases > self.queued_cases:
            raise ValueError(
                f"cases is {self.cases}, more than queued_cases {self.queued_cases}: no full request would ever be taken"
            )
        return self


class BatchingSection(Section):
    """How requests share forwards. A forward takes whatever waits, up to `max_batch_size`, and never waits for more."""

    max_batch_size: int = Field(default=32, ge=1)


class AutoscalingSection(Section):
    """Replicas by load: as many as keep the requests in flight at each near `target_requests`."""

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=2, ge=1)
    target_requests: float = Field(default=32, gt=0)

    @model_validator(mode="after")
    def _a_range(self):
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas is {self.min_replicas}, more than max_replicas {self.max_replicas}: raise max_replicas too"
            )
        return self


class AccessSection(Section):
    """Who may ask. Without a token only this machine may, by a loopback address and name."""

    token_env: str = TOKEN
    token_file: Path | None = Field(default=None, description="its first line; wins over the environment")

    def token(self) -> str | None:
        """The bearer token, or None where none is set.

        Raises:
            ConfigError: the file cannot be read, or the token is too short to be one.
        """
        if self.token_file is None:
            token = os.environ.get(self.token_env, "").strip()
        else:
            try:
                token = (self.token_file.read_text().splitlines() or [""])[0].strip()
            except (OSError, ValueError) as error:  # no text, or no path
                raise ConfigError(
                    [f"access.token_file: {self.token_file} cannot be read ({type(error).__name__})"]
                ) from None
        if token and (len(token) < 16 or not token.isascii() or not token.isprintable()):
            raise ConfigError(
                ["access: the token needs 16 or more printable ASCII characters, e.g. `openssl rand -hex 32`"]
            )
        if not token and self.token_file is not None:
            raise ConfigError([f"access.token_file: {self.token_file} is empty"])
        return token or None

    def check(self, host: str | None) -> None:
        """Refuse a token that is none, and an address that others can reach while no token is set.

        Raises:
            ConfigError: with the two ways out.
        """
        if self.token() is None and not is_loopback(host or ""):
            raise ConfigError(
                [
                    f"http_options.host is {host!r}, which other machines can reach, and no token is set: "
                    f"set {self.token_env} (or access.token_file), or listen on 127.0.0.1"
                ]
            )


class HttpSection(Section):
    """What every service has: replicas, bounds, and who may ask."""

    replicas: int = Field(default=1, ge=1)
    autoscaling: AutoscalingSection | None = None
    limits: HttpLimits = HttpLimits()
    access: AccessSection = AccessSection()

    @model_validator(mode="before")
    @classmethod
    def _one_way_to_scale(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("autoscaling") is not None and "replicas" in data:
            raise ValueError("replicas and autoscaling are both set: remove one")
        return data

    @property
    def may_sleep(self) -> bool:
        """Whether there may be no replica until somebody asks."""
        return self.autoscaling is not None and self.autoscaling.min_replicas == 0

    def scale(self) -> dict[str, Any]:
        """Serve's own options for the number of replicas."""
        if self.autoscaling is None:
            return {"num_replicas": self.replicas}
        scale = self.autoscaling
        return {
            "autoscaling_config": {
                "min_replicas": scale.min_replicas,
                "max_replicas": scale.max_replicas,
                "initial_replicas": max(scale.min_replicas, 1),
                "target_ongoing_requests": scale.target_requests,
            }
        }


class ServiceSection(HttpSection):
    """One scorer as a service."""

    scorer: Location = Field(description="a finished scorer's folder or its URL, e.g. runs/demo/scorer")
    task: Annotated[SerializeAsAny[Task], BeforeValidator(lambda value: resolve_kind(Task, value))]
    num_cpus: float = Field(default=1.0, ge=0, description="a replica's logical CPUs")
    num_gpus: float = Field(default=0.0, ge=0, description="a replica's share of a GPU, e.g. 0.25")
    threads: int | None = Field(
        default=None, ge=1, description="decode images and compute forwards; null: as many as cores"
    )
    forwards: int | None = Field(
        default=None,
        ge=1,
        description="at one time, each in a process with its own weights; null: one on a GPU, else two",
    )
    batching: BatchingSection = BatchingSection()
    limits: LimitsSection = LimitsSection()

    @property
    def device(self) -> str:
        return "cuda" if self.num_gpus > 0 else "cpu"

    @property
    def cores(self) -> int:
        """Threads of a replica's forwards together."""
        return self.threads or len(os.sched_getaffinity(0))

    @property
    def processes(self) -> int:
        """Of scorers in a replica: a forward at a time in each."""
        return self.forwards or (1 if self.num_gpus > 0 else min(2, self.cores))


class ModelLimits(HttpLimits):
    """Bounds of the models' service: an answer takes as long as its tokens, under whatever load there is."""

    request_seconds: float = Field(default=600.0, gt=0)
    json_depth: int = Field(default=32, ge=8, description="a schema that an answer must fit is deep")


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class ModelSection(HttpSection):
    """A base model and adapters over it, each by its name, as a service.

    `run` stands for the run's own: its base model as `base`, its adapter as `aligned`.
    """

    run: Location | None = Field(
        default=None, description="the directory of a run that is aligned, or its URL, e.g. runs/demo"
    )
    model: str | None = Field(default=None, description="a base model without a run, named as alignment.model is")
    adapters: dict[Annotated[str, Field(pattern=NAME)], Location] = Field(
        default={}, description="further adapters, by name"
    )
    names: list[Annotated[str, Field(pattern=NAME)]] | None = Field(
        default=None, min_length=1, description="what is served; null: `base` and every adapter"
    )
    engine: EngineSection | None = Field(default=None, description="null: as the run's `inference` section has it")
    scorer: Annotated[str, Field(pattern=r"^https?://[^\s/]+")] | None = Field(
        default=None,
        description="the address of the scorer's service, e.g. http://127.0.0.1:8000: the page has its ranking beside "
        "the answer; it is sent the same token",
    )
    limits: ModelLimits = ModelLimits()

    @model_validator(mode="after")
    def _one_base_model(self):
        if (self.run is None) == (self.model is None):
            raise ValueError("name a finished run (run) or a base model (model), one of the two")
        if self.scorer and not self.run:
            raise ValueError("scorer is set and run is not: without a run there is no page to show its ranking on")
        if BASE in self.adapters or (self.run and ALIGNED in self.adapters):
            raise ValueError(f"adapters: {BASE} and, with a run, {ALIGNED} are taken: choose another name")
        known = [BASE, *([ALIGNED] if self.run else []), *self.adapters]
        if unknown := set(self.names or ()) - set(known):
            raise ValueError(f"names: there is no {', '.join(sorted(unknown))}; there is {', '.join(known)}")
        return self


@lru_cache(1024)  # asked of every request, about few addresses
def is_loopback(host: str) -> bool:
    """Whether an address or name reaches this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
