"""YAML from outside as the plain data that JSON has: bounded before anything is built, and no tags."""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_DEPTH = 100
MAX_NODES = 1_000_000  # each alias counts as all that it stands for

_TAGS = (None, "!", "tag:yaml.org,2002:str")
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NotPlain(ValueError):
    """A text that is not the plain data of one document. It says what it is, and nothing of what stands in it."""


class _Loader(_Base):
    """JSON's types alone: a date, `no` and `12:30` stay the texts that they are in a packet's JSON."""

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise NotPlain("two fields of one name in an object")
        return found


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^-?(?:0|[1-9][0-9]*)(?=[.eE])(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"),
    list("-0123456789"),
)


def load_yaml(text: bytes) -> Any:
    """The one document of a YAML text.

    Raises:
        NotPlain: it is no YAML, several documents, has a tag that is none of JSON's types, is nested too deep, or
            would be too large with all its aliases written out (or without end).
    """
    try:
        _check_size(text)
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise NotPlain(type(error).__name__) from None


def _check_size(text: bytes) -> None:
    """Count nodes as if each alias were written out, by the parser's events alone."""
    sizes: dict[str | None, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor of each node that is open, and the count before it
    count = 0
    for event in yaml.parse(text, _Loader):
        if getattr(event, "tag", None) not in _TAGS:
            raise NotPlain("a tag")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise NotPlain("an alias of nothing, or of what it stands in")
            count += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            sizes.pop(event.anchor, None)
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            sizes[event.anchor] = 1
            count += 1
        if count > MAX_NODES or len(open_nodes) > MAX_DEPTH:
            raise NotPlain(f"more than {MAX_NODES} nodes, or deeper than {MAX_DEPTH}")
