"""One running service for all tests that ask over HTTP: a tiny ViLT, as a deployment would host it."""

import httpx
import pytest

from tests.service.running import running, write_config


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    from tests.scorers.tiny import tiny_scorer

    folder = tmp_path_factory.mktemp("service")
    limits = {"body_seconds": 2.0, "body_bytes": 12 * 2**20, "cases": 8}
    config = write_config(folder, tiny_scorer(folder / "scorer"), "deployments.scorer:build", limits=limits)
    with running(config) as found:
        yield found


@pytest.fixture
def http(service):
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client
