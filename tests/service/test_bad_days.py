"""What goes wrong at run time: weights that are none, ten times too many requests, a dying replica, an update."""

import asyncio
import json
import os
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from mint_ray.client import QueryCase, Ranked, ScorerClient, ServiceError
from mint_ray.transport import Patience
from tests.conftest import REPOSITORY
from tests.service.running import command, environment, running, write_config


def toy(folder: Path, digest: str = "00ff", seconds: float = 0.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digest").write_text(digest)
    (folder / "seconds").write_text(str(seconds))
    return folder


def launch(config: Path, *flags: str, **environ: str) -> subprocess.CompletedProcess:
    """The command, run to its end."""
    return subprocess.run(
        command(config, *flags), cwd=REPOSITORY, env=environment(**environ), capture_output=True, text=True, timeout=180
    )


def test_wrong_settings_end_the_command_with_status_2_and_their_keys(tmp_path):
    assert launch(tmp_path / "none.yaml").returncode == 2
    config = write_config(tmp_path, tmp_path, batching={"max_batch_size": 0}, replica=3)
    done = launch(config)
    assert done.returncode == 2
    assert "args.batching.max_batch_size" in done.stderr
    assert "args.replica" in done.stderr
    done = launch(write_config(tmp_path, tmp_path, host="0.0.0.0"))
    assert done.returncode == 2
    assert "MINT_RAY_TOKEN" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "garbage", "missing"])
def test_weights_that_are_none_end_the_command_with_status_1_and_leave_nothing_behind(tmp_path, damage):
    from tests.scorers.tiny import tiny_scorer

    folder = tiny_scorer(tmp_path / "scorer")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    {
        "cut": lambda: weights.write_bytes(whole[: len(whole) // 2]),
        "garbage": lambda: weights.write_bytes(os.urandom(4096)),
        "missing": weights.unlink,
    }[damage]()
    config = write_config(tmp_path, folder, "deployments.scorer:build")
    done = launch(config)
    assert done.returncode == 1
    assert "ModelError" in done.stderr
    assert str(folder) in done.stderr
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/livez")


class Load:
    """Clients that rank one case after the other until told to stop, and what came of it."""

    def __init__(self, url: str, clients: int, patience: Patience):
        self.url, self.patience = url, patience
        self.done, self.failed, self.digests = 0, [], set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def _ask(self, number: int) -> None:
        with ScorerClient(self.url, patience=self.patience, timeout=20) as client:
            while not self._stop.is_set():
                try:
                    (result,) = client.rank([QueryCase(id=str(number), text="Seizure")])
                    assert isinstance(result, Ranked)
                    self.done += 1
                except (ServiceError, AssertionError) as error:
                    self.failed.append(str(error))

    @contextmanager
    def on(self):
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(60)

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Until so many more requests are done."""
        goal, until = self.done + count, time.monotonic() + seconds
        while self.done < goal and time.monotonic() < until:
            time.sleep(0.05)


# A Ray driver of its own, so that this process stays without one.
KILL = """
import ray
ray.init(address={address!r}, namespace="serve", log_to_driver=False)
names = [n["name"] for n in ray.util.list_named_actors(all_namespaces=True) if n["name"].startswith("SERVE_REPLICA::scorer#")]
ray.kill(ray.get_actor(sorted(names)[0], namespace="serve"))
print(len(names))
"""


def on_cluster(code: str, address: str) -> str:
    done = subprocess.run(
        [*command(Path())[:1], "-c", code.format(address=address)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_replica_that_is_killed_costs_the_clients_repeats_and_no_failure(tmp_path):
    config = write_config(tmp_path, toy(tmp_path / "toy", seconds=0.02), replicas=2)
    with running(config) as service, Load(service.url, 8, Patience(seconds=60)).on() as load:
        load.wait_for(100)
        assert on_cluster(KILL, service.ray_address) == "2"
        load.wait_for(300)
    assert load.failed == []
    assert load.done > 300


@pytest.mark.slow
def test_a_client_that_gives_up_leaves_no_work_behind(tmp_path):
    """A forward takes a second and holds two cases: twelve cases would be six seconds of work for nobody."""
    config = write_config(tmp_path, toy(tmp_path / "toy", seconds=1.0), batching={"max_batch_size": 2}, forwards=1)
    with running(config) as service:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{service.url}/v1/rank", json={"cases": [{"text": "x"}] * 12}, timeout=0.5)
        until = time.monotonic() + 60
        while gauge(service.url, "queued_cases") and time.monotonic() < until:
            time.sleep(0.05)
        scored = gauge(service.url, "batch_size_sum")
    assert scored < 10


def gauge(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"mint_ray_{name}{{"))


def scorer_processes() -> list[psutil.Process]:
    """Those beside the replicas that run on this machine."""
    replicas = [
        p for p in psutil.process_iter(["cmdline"]) if "ray::ServeReplica:scorer" in " ".join(p.info["cmdline"])
    ]
    children = [child for replica in replicas for child in replica.children()]
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_a_scorer_that_is_killed_takes_its_replica_along_and_costs_the_clients_repeats_alone(tmp_path):
    config = write_config(tmp_path, toy(tmp_path / "toy", seconds=0.02), replicas=2)
    with running(config) as service, Load(service.url, 8, Patience(seconds=120)).on() as load:
        load.wait_for(100)
        first, second = scorer_processes()
        first.kill()
        load.wait_for(300)
        until = time.monotonic() + 90
        while len(scorer_processes()) < 2 and time.monotonic() < until:
            time.sleep(0.5)
        load.wait_for(100)
        assert len(scorer_processes()) == 2
        assert second in scorer_processes()
    assert load.failed == []
    assert load.done > 500


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_an_update_under_load_fails_no_request_even_without_repeats(tmp_path, replicas):
    config = write_config(tmp_path, toy(tmp_path / "old", "old0"), replicas=replicas)
    with running(config) as service, Load(service.url, 6, Patience(seconds=0)).on() as load:
        load.wait_for(50)
        settings = yaml.safe_load(config.read_text())
        settings["applications"][0]["args"]["scorer"] = str(toy(tmp_path / "new", "new1"))
        config.write_text(yaml.safe_dump(settings))
        done = launch(config, "--detach", RAY_ADDRESS=service.ray_address)
        assert done.returncode == 0, done.stderr[-3000:]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and {digest(service.url) for _ in range(20)} != {"new1"}:
            time.sleep(0.5)
        load.wait_for(100)
        assert {digest(service.url) for _ in range(20)} == {"new1"}
    assert load.failed == []


def digest(url: str) -> str:
    return httpx.get(f"{url}/v1/scorer").json()["digest"]


def memory(url: str) -> float:
    """Resident megabytes of the replica, from the process that answers."""
    return (
        float(httpx.get(f"{url}/metrics").text.split("mint_ray_resident_bytes{")[1].split("} ")[1].split("\n")[0])
        / 2**20
    )


@pytest.mark.slow
def test_ten_times_the_load_is_shed_at_once_while_accepted_requests_keep_their_bound(tmp_path):
    """Capacity is 4 cases in 0.2 s: 20 a second. 200 a second arrive for ten seconds."""
    limits = {"queued_cases": 16, "cases": 4, "request_seconds": 5.0}
    config = write_config(tmp_path, toy(tmp_path / "toy", seconds=0.2), batching={"max_batch_size": 4}, limits=limits)
    picture = json.dumps({"cases": [{"id": "a", "text": "x" * 10_000}]})
    with running(config) as service:
        before = memory(service.url)
        found = asyncio.run(flood(service.url, picture, rate=200, seconds=10))
        after = memory(service.url)
    statuses = [status for status, _, _ in found]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 0.7 * 20 * 10
    assert all(retry == "1" for status, _, retry in found if status == 503)
    accepted = sorted(seconds for status, seconds, _ in found if status == 200)
    refused = sorted(seconds for status, seconds, _ in found if status == 503)
    assert accepted[-1] < 5.0
    assert refused[len(refused) // 2] < accepted[len(accepted) // 2]
    assert after - before < 64


async def flood(url: str, body: str, rate: int, seconds: int) -> list[tuple[int, float, str | None]]:
    """Status, seconds and Retry-After of requests that arrive at a rate, whatever the answers are."""

    async def one(client: httpx.AsyncClient) -> tuple[int, float, str | None]:
        started = time.perf_counter()
        answer = await client.post("/v1/rank", content=body, headers={"content-type": "application/json"})
        return answer.status_code, time.perf_counter() - started, answer.headers.get("retry-after")

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
        tasks = []
        started = time.perf_counter()
        for number in range(rate * seconds):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(one(client)))
        return list(await asyncio.gather(*tasks))
