from pathlib import Path
from socket import socket

import pytest

from mint_ray.service import ports
from mint_ray.service.ports import free_ports


def test_they_differ_and_the_system_gives_none_of_them_to_anyone():
    found = free_ports(4)
    assert len(set(found)) == 4
    given_by_chance = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port < given_by_chance for port in found)


def test_none_on_which_something_listens(monkeypatch):
    with socket() as taken:
        taken.bind(("127.0.0.1", free_ports(1)[0]))
        at = taken.getsockname()[1]
        monkeypatch.setattr(ports, "QUIET", range(at, at + 1))
        with pytest.raises(OSError, match=f"0 of 1 ports are free in {at} to {at}"):
            free_ports(1)
    assert free_ports(1) == [at]
