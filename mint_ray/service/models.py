"""Which models a service serves: a name leads to weights, an adapter over them where the engine runs it as such."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

from mint_ray.alignment.start import adapted_model, trained_folder
from mint_ray.config import EngineSection
from mint_ray.inference.answering import Weights
from mint_ray.models import adapter_settings, adapts_language_alone, merge_adapter, model_digest, resolve_model
from mint_ray.runs import Run, open_run
from mint_ray.service.settings import ALIGNED, BASE, ModelSection
from mint_ray.storage import local_copy

logger = logging.getLogger(__name__)


def served_models(settings: ModelSection) -> tuple[EngineSection, dict[str, Weights]]:
    """The engine's settings, and the weights of each name; an adapter that must be merged is merged first.

    Raises:
        RunError: the run is not aligned.
        ModelError: a model or an adapter is not there, or they do not belong together.
    """
    run = open_run(settings.run) if settings.run else None
    base = resolve_model(run.config.alignment.model if run else cast(str, settings.model))
    own = {ALIGNED: trained_folder(run.stage("alignment").require(), run.config.alignment)} if run else {}
    adapters = {**own, **settings.adapters}
    engine = settings.engine or engine_of(run)
    names = settings.names or [BASE, *adapters]

    def weights(name: str) -> Weights:
        if name == BASE:
            return Weights(base, model_digest(base))
        if not run or name != ALIGNED:
            return adapted(base, adapters[name].absolute(), engine)
        if run.config.alignment.lora is None:
            whole = resolve_model(str(own[name]))
            return Weights(whole, model_digest(whole))
        # The run's own adapter belongs to what its training started from; others to the model as it is.
        return adapted(resolve_model(adapted_model(run)), own[name].absolute(), engine)

    return engine, {name: weights(name) for name in names}


def engine_of(run: Run | None) -> EngineSection:
    """The engine that a run's answers were made with."""
    if run is None:
        return EngineSection()
    return EngineSection(**{name: getattr(run.config.inference, name) for name in EngineSection.model_fields})


def adapted(base: Path, adapter: Path, engine: EngineSection) -> Weights:
    """A model with an adapter; on a CPU, where LoRA is ten times slower, the two merged beside the adapter, once."""
    adapter = local_copy(adapter)
    rank = adapter_settings(adapter).get("r", 0)
    made_of: dict[str, Any] = {"digest": model_digest(base), "adapter_digest": model_digest(adapter)}
    if engine.use_gpu and adapts_language_alone(base, adapter):
        return Weights(base, **made_of, adapter=adapter, adapter_rank=rank)
    merged = adapter.with_name(f"merged-{made_of['digest']}-{made_of['adapter_digest']}")
    if not merged.exists():
        logger.info("merging %s once into %s", adapter, merged)
        merge_adapter(base, adapter, merged)
    return Weights(merged, **made_of)
