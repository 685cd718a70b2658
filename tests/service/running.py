"""The service as a process of its own, started by the command that the README names."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mint_ray.service.ports import free_ports
from tests.conftest import REPOSITORY

PATIENCE = 180


@dataclass
class Running:
    url: str
    ray_address: str
    process: subprocess.Popen
    config: Path
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").rstrip("/").split(":")
        return host, int(port)


def write_config(
    folder: Path, scorer: Path, import_path: str = "tests.service.toy:build", host: str = "127.0.0.1", **args: Any
) -> Path:
    """A Serve configuration of one scorer, as deployments/scorer.yaml."""
    settings = {"scorer": str(scorer), "task": {"kind": "rare_disease"}, "threads": 1, "num_cpus": 0.5, **args}
    path = folder / "service.yaml"
    application = {"name": "scorer", "route_prefix": "/", "import_path": import_path, "args": settings}
    http = {"host": host, "port": free_ports(1)[0]}
    path.write_text(yaml.safe_dump({"proxy_location": "HeadOnly", "http_options": http, "applications": [application]}))
    return path


def command(config: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "mint_ray.service", str(config), *flags]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return kept | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **more}


@contextmanager
def running(config: Path, *flags: str, patience: float = PATIENCE, **environ: str) -> Iterator[Running]:
    """The service, ready; stopped as an operator would stop it."""
    log = config.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            command(config, *flags), cwd=REPOSITORY, env=environment(**environ), stdout=output, stderr=output
        )
    try:
        found = _wait_until_ready(process, log, patience)
        yield Running(found[1], found[2], process, config, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(process: subprocess.Popen, log: Path, patience: float) -> re.Match:
    until = time.monotonic() + patience
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"Ready: (\S+)/ on RAY_ADDRESS=(\S+)", log.read_text()):
            return found
        time.sleep(0.2)
    raise AssertionError(f"the service did not start:\n{log.read_text()[-4000:]}")
