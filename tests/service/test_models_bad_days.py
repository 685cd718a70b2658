"""The running models' service: a request that is ended by its bound, and an engine that is killed."""

import time

import httpx
import psutil
import pytest

from tests.aligned_run import MODEL
from tests.service.models import write_models_config
from tests.service.running import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LONG = {
    "model": "base",
    "prompt": "Once upon a time",
    "max_tokens": 900,
    "n": 64,
    "ignore_eos": True,
}  # minutes of work


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    settings = {"model": MODEL, "engine": {"max_model_len": 1024, "cache_gib": 0.5}, "limits": {"request_seconds": 8.0}}
    with running(write_models_config(tmp_path_factory.mktemp("models"), **settings), patience=600) as service:
        yield service.url


def engines() -> list[psutil.Process]:
    """vLLM's own processes below this one."""
    below = psutil.Process().children(recursive=True)
    return [each for each in below if "VLLM::EngineCore" in " ".join(each.cmdline())]


def at_rest(within: float) -> bool:
    """Whether the engines stop computing in time: less than a tenth of a core in three seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        before = sum(sum(each.cpu_times()[:2]) for each in engines())
        time.sleep(3)
        if sum(sum(each.cpu_times()[:2]) for each in engines()) - before < 0.3:
            return True
    return False


def test_an_engine_does_not_work_on_for_a_request_that_was_told_504(url):
    answer = httpx.post(f"{url}/v1/completions", json=LONG, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    assert answer.headers["retry-after"] == "1"
    assert at_rest(within=45)


def test_a_service_whose_engine_was_killed_is_not_ready_until_another_is_there(url):
    assert httpx.get(f"{url}/readyz", timeout=30).status_code == 200
    (engine,) = engines()
    engine.kill()
    told, until = [], time.monotonic() + 400
    while told[-1:] != [200] or 503 not in told:
        assert time.monotonic() < until
        answer = httpx.get(f"{url}/readyz", timeout=30)
        told.append(answer.status_code)
        assert answer.status_code in (200, 503)
        assert answer.status_code == 200 or "base" in answer.json()["error"]["message"]
        time.sleep(0.5)
    words = {"model": "base", "prompt": "Name a fruit.", "max_tokens": 4}
    assert httpx.post(f"{url}/v1/completions", json=words, timeout=60).status_code == 200
