"""What `Bounds` reads of a body that is too large, without a server: all of it or a known part, and keeps nothing."""

import asyncio

import pytest

from mint_ray.service.guards import Admission, Bounds
from mint_ray.service.problems import Problem
from mint_ray.service.settings import HttpLimits

BOUND, CHUNK = 4096, 512


async def reads_all(scope, receive, send):
    while (await receive()).get("more_body", False):
        pass


def refused(size: int, **headers: str) -> tuple[str, int]:
    """The problem of a body of `size` bytes, and how many of them were read before it was raised."""
    read = 0

    async def receive():
        nonlocal read
        read += CHUNK
        return {"type": "http.request", "body": b" " * CHUNK, "more_body": read < size}

    limits = HttpLimits(body_bytes=BOUND, bytes_in_flight=BOUND)
    app = Bounds(Admission(reads_all, limits), limits)
    scope = {
        "type": "http",
        "path": "/v1/rank",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    with pytest.raises(Problem) as found:
        asyncio.run(app(scope, receive, None))
    return found.value.code, read


def test_a_body_too_large_is_read_to_its_end_before_it_is_refused():
    assert refused(6000) == ("body-too-large", 6144)
    assert refused(6000, content_length="6000") == ("body-too-large", 6144)


def test_of_an_endless_body_twice_the_bound_is_read_and_no_more():
    assert refused(10**9, content_length=str(10**9)) == ("body-too-large", 2 * BOUND)
    assert refused(10**9) == ("body-too-large", 2 * BOUND)


def test_who_asks_before_sending_is_told_before_anything_is_read():
    assert refused(6000, content_length="6000", expect="100-continue") == ("body-too-large", 0)
