"""Freed memory goes back to the system: once in a second at the most, after a batch and after an answer."""

import pytest

from mint_ray.service import memory
from tests.service.test_chat import answers


@pytest.fixture
def trims(monkeypatch):
    """How often memory was given back."""
    found = []
    monkeypatch.setattr(memory, "_trim", found.append)
    return found


@pytest.mark.parametrize(("seconds", "times"), [(-1.0, 5), (3600.0, 0)])
def test_memory_is_given_back_once_in_a_while(monkeypatch, trims, seconds, times):
    monkeypatch.setattr(memory, "TRIM_SECONDS", seconds)
    give_back = memory.memory_returner()
    for _ in range(5):
        give_back()
    assert trims == [0] * times


def test_it_is_after_every_answer_that_is_late_enough(monkeypatch, trims):
    monkeypatch.setattr(memory, "TRIM_SECONDS", -1.0)
    found = answers("/livez", "/nothing", bearer=True)
    assert [answer.status_code for answer in found] == [200, 404] and trims == [0, 0]


def test_where_there_is_no_glibc_nothing_is_asked_of_it(monkeypatch, trims):
    monkeypatch.setattr(memory, "_trim", None)
    monkeypatch.setattr(memory, "TRIM_SECONDS", -1.0)
    memory.memory_returner()()
    assert trims == []
