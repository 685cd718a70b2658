"""Ray on several nodes of this machine: each a network namespace with an address and a folder of its own.

The namespaces are wired to each other and to nothing else. What runs in one is that node, so a node is lost by pulling
its cable and killing all of it at once: no process gets to say goodbye, as when a machine loses its power.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.conftest import REPOSITORY

HEAD = "10.77.0.1"
PORT = 6379
DASHBOARD = "http://127.0.0.1:8265"  # on the head alone
NETWORK = "eth0"  # how a node knows its network; the head's is the switch
PATIENCE = 120


def can_make_nodes() -> bool:
    """Whether this process may make network namespaces."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


def wait_for(fact: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    until = time.monotonic() + patience
    while not fact():
        assert time.monotonic() < until, f"waited {patience:.0f} s for {what}"
        time.sleep(0.1)


class Node:
    """A namespace and the processes in it."""

    def __init__(self, address: str):
        self.address, self.namespace = address, f"mint-{secrets.token_hex(3)}"
        # Short, since the path of a socket may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        ip("netns", "add", self.namespace)

    def configure(self) -> None:
        """Take the address; the route leads nowhere, but processes learn their own address by asking for one."""
        ip("-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", NETWORK)
        for link in (NETWORK, "lo"):
            ip("-n", self.namespace, "link", "set", link, "up")
        ip("-n", self.namespace, "route", "add", "default", "via", HEAD, "dev", NETWORK)

    def start(self, command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen:
        with log.open("a") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *command],
                cwd=REPOSITORY,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def at_work(self) -> set[str]:
        """What Ray's workers here call themselves, e.g. `ray::MapWorker(MapBatches(PartScorer))`."""
        titles = set()
        for pid in self._pids():
            with suppress(psutil.Error, IndexError):
                titles.add(psutil.Process(pid).cmdline()[0])
        return {title for title in titles if title.startswith("ray::") and not title.startswith("ray::IDLE")}

    def pull_cable(self) -> None:
        ip("-n", self.namespace, "link", "set", NETWORK, "down")

    def end(self) -> None:
        """Kill whatever runs here and remove every trace of the node."""
        while pids := self._pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        ip("netns", "del", self.namespace)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pids(self) -> list[int]:
        return [int(pid) for pid in ip("netns", "pids", self.namespace).split()]


class Cluster:
    """A head, on which drivers run, and nodes that join and are lost; each counts `cpus` logical CPUs."""

    def __init__(self, logs: Path, cpus: int = 3):
        self._logs, self._cpus, self._token = logs, cpus, secrets.token_hex(16)
        self._numbers = itertools.count(2)
        self.nodes: list[Node] = []
        self.head = Node(HEAD)

    def start(self) -> None:
        ip("-n", self.head.namespace, "link", "add", NETWORK, "type", "bridge")
        self.head.configure()
        self._start_ray(self.head, "--head", f"--port={PORT}")

    def join(self) -> Node:
        """A further node, up."""
        number = next(self._numbers)
        node, port = Node(f"10.77.0.{number}"), f"port{number}"
        self.nodes.append(node)
        switch, own = self.head.namespace, node.namespace
        ip("link", "add", port, "netns", switch, "type", "veth", "peer", "name", NETWORK, "netns", own)
        ip("-n", switch, "link", "set", port, "master", NETWORK, "up")
        node.configure()
        self._start_ray(node, f"--address={HEAD}:{PORT}")
        return node

    def lose(self, node: Node) -> set[str]:
        """What was at work there when the node was lost."""
        at_work = node.at_work()
        node.pull_cable()
        self.nodes.remove(node)
        node.end()
        return at_work

    def drive(self, command: list[str], log: Path, **environment: str) -> subprocess.Popen:
        """A command on the head that finds this Ray."""
        known = {"RAY_ADDRESS": f"{HEAD}:{PORT}", **environment}
        return self.head.start([sys.executable, *command], self._environment() | known, log)

    def end(self) -> None:
        for node in [*self.nodes, self.head]:
            node.end()

    def _start_ray(self, node: Node, *how: str) -> None:
        log = self._logs / f"{node.address}.log"
        settings = {
            "node-ip-address": node.address,
            "temp-dir": node.folder,
            "num-cpus": self._cpus,
            "num-gpus": 0,
            "object-store-memory": 500_000_000,
        }
        options = [*how, "--block", *(f"--{name}={value}" for name, value in settings.items())]
        started = node.start([str(Path(sys.executable).with_name("ray")), "start", *options], self._environment(), log)
        wait_for(lambda: "Ray runtime started" in log.read_text() or started.poll() is not None, f"Ray, see {log}")
        assert started.poll() is None, log.read_text()

    def _environment(self) -> dict[str, str]:
        """This process's, without what its own Ray is told, and with what docs/cluster.md has every node set."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return inherited | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "GLOO_SOCKET_IFNAME": NETWORK,  # Gloo asks for the host's name, which is the same on all nodes here
        }


@contextmanager
def cluster_of_nodes(logs: Path) -> Iterator[Cluster]:
    """A head alone; nothing is left of it or of what joined it when the block ends."""
    logs.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(logs)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
