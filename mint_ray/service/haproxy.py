"""HAProxy as Serve configures it, closed where Serve leaves it open. A script of its own, run in HAProxy's place:

    python haproxy.py HAPROXY HOST PORT SECONDS [what Serve gives HAProxy, -f FILE among it]

Serve opens statistics and metrics on every address, sends the address of every request to a system's log, and waits for
ever for the head of a request. What may listen is told by its port and not by a name: the service's own stays as it is,
every other goes to loopback, whatever section it is of. What is not understood ends HAProxy before it listens, and the
start of the service with it.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from pathlib import Path

_BIND = re.compile(r"(\s*bind\s+)(\*|\[[0-9a-fA-F:]*\]|[\w.-]*):(\d+)((?:\s.*)?)")
_LOOPBACK = re.compile(r"127(\.\d+){3}|localhost|\[::1\]")
_ALSO_LISTEN = {"dgram-bind", "log-forward", "peers", "program"}  # Serve writes none of these


class NotUnderstood(ValueError):
    """A configuration of another shape than Serve's."""


def closed(config: str, host: str, port: int, seconds: float) -> str:
    """A configuration that listens at the service's address and on loopback, and gives a request's head `seconds`.

    Raises:
        NotUnderstood: saying which line.
    """
    lines = [_closed(line, host, port) for line in config.splitlines()]
    defaults = [number for number, line in enumerate(lines) if line.split()[:1] == ["defaults"]]
    if len(defaults) != 1:
        raise NotUnderstood(f"{len(defaults)} sections of defaults, where one is expected")
    lines.insert(defaults[0] + 1, f"    timeout http-request {round(1000 * seconds)}ms")
    if not any((found := _BIND.fullmatch(line)) and int(found[3]) == port for line in lines):
        raise NotUnderstood(f"nothing listens on port {port}")
    return "\n".join(lines) + "\n"


def _closed(line: str, host: str, port: int) -> str:
    words = line.split()
    if not words or words[0].startswith("#"):
        return line
    if words[0] == "log" and words[1:] != ["global"]:
        return ""  # addresses of requests would go to whoever listens there
    inline = words[0] in ("listen", "frontend") and len(words) > 2
    socket = words[:2] == ["stats", "socket"] and not words[2].startswith("/")
    if words[0] in _ALSO_LISTEN or inline or socket or words[:2] == ["timeout", "http-request"]:
        raise NotUnderstood(line.strip())
    return _bound(line, host, port) if words[0] == "bind" else line


def _bound(line: str, host: str, port: int) -> str:
    found = _BIND.fullmatch(line)
    if found is None:
        raise NotUnderstood(line.strip())
    before, at, its_port, more = found.groups()
    if int(its_port) != port:
        return f"{before}127.0.0.1:{its_port}{more}"
    if _LOOPBACK.fullmatch(host) and not _LOOPBACK.fullmatch(at):
        raise NotUnderstood(f"{line.strip()}: the service is to listen at {host}")
    return line


def main(haproxy: str, host: str, port: str, seconds: str, *arguments: str) -> None:
    for flag, path in itertools.pairwise(arguments):
        if flag == "-f":
            try:
                Path(path).write_text(closed(Path(path).read_text(), host, int(port), float(seconds)))
            except NotUnderstood as error:
                sys.exit(f"HAProxy's configuration is not the one that this service knows how to close: {error}")
    os.execv(haproxy, [haproxy, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
