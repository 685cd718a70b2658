"""Served language models for tests: a configuration, and builders that the running service imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ray import serve

from mint_ray.inference.answering import Weights
from mint_ray.models import adapter_settings, model_digest, resolve_model
from mint_ray.runs import open_run
from mint_ray.service.chat import endpoint
from mint_ray.service.models import engine_of
from mint_ray.service.ports import free_ports
from mint_ray.service.settings import ModelSection

IMPORT_PATH = "deployments.aligned_model:build"


def write_models_config(folder: Path, import_path: str = IMPORT_PATH, host: str = "127.0.0.1", **args: Any) -> Path:
    """A Serve configuration as deployments/aligned_model.yaml."""
    path = folder / "models.yaml"
    application = {"name": "models", "route_prefix": "/", "import_path": import_path, "args": args}
    http = {"host": host, "port": free_ports(1)[0]}
    path.write_text(yaml.safe_dump({"proxy_location": "HeadOnly", "http_options": http, "applications": [application]}))
    return path


def build_with_adapter(args: ModelSection) -> serve.Application:
    """The run's adapter as such over one engine, as on a GPU."""
    run = open_run(args.run)
    base, adapter = resolve_model(run.config.alignment.model), run.stage("alignment").path / "adapter"
    made_of = {"digest": model_digest(base), "adapter_digest": model_digest(adapter)}
    rank = adapter_settings(adapter)["r"]
    served = {"base": Weights(base, made_of["digest"])}
    served["aligned"] = Weights(base, **made_of, adapter=adapter, adapter_rank=rank)
    return endpoint(args, engine_of(run), served)
