"""YAML as plain data, or one sentence on why not: what people write is read, and nothing that YAML can do beside.

PyYAML's safe loader makes no objects, but it lets the last of two equal keys win, makes dates that are none into a
`ValueError`, and follows aliases that stand for billions of values. Here only mappings, lists, texts, numbers, true,
false and null come out; a date is a text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mint_ray.storage import opened

MAX_BYTES = 512 * 1024
MAX_DEPTH = 50
MAX_VALUES = 20_000  # with whatever aliases stand for
_TOO_MANY = f"more than {MAX_VALUES:,} values, which no configuration has"
_TOO_DEEP = f"more than {MAX_DEPTH} levels, which no configuration has"
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")


class NotPlain(ValueError):
    """A text that cannot be read as plain data; its message says where and why."""


def read_yaml(path: Path) -> Any:
    """The data of a file in UTF-8, or in UTF-16 with its mark.

    Raises:
        NotPlain: why it cannot be read.
        FileNotFoundError: it is not there.
        StorageError: its store refuses.
    """
    try:
        with opened(path) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise NotPlain("is a folder, not a YAML file") from None
    except OSError as error:
        raise NotPlain(f"cannot be read ({error.strerror or type(error).__name__})") from None
    if len(data) > MAX_BYTES:
        raise NotPlain(f"has more than {MAX_BYTES // 1024} KiB, which no configuration has")
    return parse_yaml(data)


def parse_yaml(text: str | bytes) -> Any:
    """Plain data.

    Raises:
        NotPlain: why the text is none.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        raise NotPlain(_unreadable(error)) from None
    except _Refused as error:
        raise NotPlain(f"line {error.problem_mark.line + 1}: {error.problem}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise NotPlain(f"is no YAML{line}: {error.problem or error.context}") from None
    except Exception as error:  # PyYAML's own, e.g. of an escape beyond the last character
        raise NotPlain(f"is no YAML ({type(error).__name__})") from None


class _Refused(yaml.MarkedYAMLError):
    """YAML, but no settings."""


class _Loader(yaml.SafeLoader):
    yaml_constructors = {
        tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (f"tag:yaml.org,2002:{name}" for name in _TAGS)
    } | {None: yaml.SafeLoader.construct_undefined}
    # A date stays the text that it is written as, and so does a lone `=`.
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] in (*_TAGS, "merge")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    composed = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        self.composed += 1
        self.depth += 1
        if self.composed > MAX_VALUES or self.depth > MAX_DEPTH:
            raise _Refused(
                problem=_TOO_MANY if self.depth <= MAX_DEPTH else _TOO_DEEP, problem_mark=self.peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rpartition(":")[2] not in _TAGS:
            raise _refused(node, f"a tag ({node.tag[:40]}), which settings do not have: write the value without it")
        try:
            value = super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError):  # of PyYAML's own for `!!int x`, and of Python for 5,000 digits
            kind = node.tag.rpartition(":")[2]
            raise _refused(node, f"a value that cannot be read as {kind}") from None
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _refused(node, "an integer of more than 64 bits")
        return _whole(node, value) if isinstance(value, str) else value


def _refused(node: yaml.Node, problem: str) -> _Refused:
    return _Refused(problem=problem, problem_mark=node.start_mark)


def _refuse_twice(node: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise _refused(key, f"{key.value[:60]!r} is there twice, first in line {lines[name]}: keep one")
            lines[name] = line


def _whole(node: yaml.Node, text: str) -> str:
    """A text whose escapes, written in pairs as JSON does, are one character each."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _refused(node, "half of a character (a lone surrogate)") from None


def _count(node: yaml.Node, sizes: dict[int, int]) -> int:
    """How many values a node holds, each as often as aliases repeat it."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise _refused(node, "a value that holds itself")
        return sizes[id(node)]
    sizes[id(node)] = 0
    below = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    if isinstance(node, yaml.MappingNode):
        _refuse_twice(node)
    size = 1 + (sum(_count(each, sizes) for each in below) if isinstance(node, yaml.CollectionNode) else 0)
    if size > MAX_VALUES:
        raise _refused(node, _TOO_MANY)
    sizes[id(node)] = size
    return size


def _unreadable(error: yaml.reader.ReaderError) -> str:
    if error.encoding == "unicode":
        return f"holds a character that no text has (code {error.character}): save it as UTF-8 text"
    return f"is no text in {error.encoding.upper()}, from byte {error.position} on: save it as UTF-8"
