"""Served otherwise than the demo: an adapter as such over one engine, and a model that sees images."""

import httpx
import pytest

from mint_ray.inference.asking import chat_request
from mint_ray.models import resolve_model
from mint_ray.synthetic.eyes import assemble
from mint_ray.tasks.tissue import Tissue
from tests.aligned_run import MODEL, aligned_run
from tests.alignment.seeing import picture
from tests.service.models import write_models_config
from tests.service.running import running
from tests.tiny_run import tiny_case

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE = 600


def answer(url: str, request: dict) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=request, timeout=300)


def text(answered: httpx.Response) -> str:
    return answered.json()["choices"][0]["message"]["content"]


def test_an_adapter_over_one_engine_says_what_it_says_merged(tmp_path):
    run, said = aligned_run(tmp_path / "run"), {}
    for import_path in ("tests.service.models:build_with_adapter", "deployments.aligned_model:build"):
        config = write_models_config(tmp_path, import_path, run=str(run.dir))
        with running(config, patience=PATIENCE) as service:
            requests = [
                chat_request(run.config.task, run.config.task.downstream_view(tiny_case(0)), name, max_tokens=4)
                for name in ("base", "aligned")
            ]
            said[import_path] = [text(answer(service.url, request)) for request in requests]
    as_such, merged = said.values()
    assert as_such == merged
    assert as_such[0] != as_such[1]


def test_images_are_seen(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    assemble(resolve_model(MODEL), model, lessons=None)
    engine = {"precision": "fp32", "max_model_len": 400, "cache_gib": 0.25, "cpus_per_engine": 1}
    config = write_models_config(tmp_path, model=str(model), engine=engine)
    task = Tissue(kind="tissue", answer_size=2)
    with running(config, patience=PATIENCE) as service:
        requests = [
            chat_request(
                task, task.downstream_view(tiny_case(0, image=picture(colour, 128, seed=1))), "base", max_tokens=6
            )
            for colour in [(220, 40, 40), (40, 40, 220), (240, 240, 240)]
        ]
        assert len({text(answer(service.url, request)) for request in requests}) > 1, "the images were not seen"
