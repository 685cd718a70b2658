"""YAML as plain data, or one sentence on why not: what people write is read, and nothing that YAML can do beside.

PyYAML's safe loader makes no objects, but it lets the last of two equal keys win, makes dates that are none into a
`ValueError`, and follows aliases that stand for billions of values. Here only mappings, lists, texts, numbers, true,
false and null come out; a date is a text. Two forms, which differ in what a plain text is and in their bounds:

| form       | for                    | a text without quotes is                                                 |
|------------|------------------------|--------------------------------------------------------------------------|
| `Settings` | files of this software | whatever YAML 1.1 says: `no` is false, `1_000` a number                  |
| `Document` | data of other software | what JSON would have it be: `no`, `12:30` and `0123` are texts           |
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import yaml

from mint_ray.errors import ConfigError, MintError
from mint_ray.storage import files_in, opened

MAX_BYTES = 512 * 1024
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")
_STANDARD = "tag:yaml.org,2002:"


_yaml = cast(Any, yaml)  # what its types leave open


class NotPlain(ValueError):
    """A text that cannot be read as plain data. Its message says where and why; `place` without a word of the text."""

    def __init__(self, message: str, place: str | None = None):
        super().__init__(message)
        self.place = place or message


def read_settings(path: Path, parts: str, example: str) -> dict[str, Any]:
    """The settings of a file in UTF-8, or in UTF-16 with its mark.

    Args:
        parts: what such a file holds, for a message.
        example: a file that is right.

    Raises:
        ConfigError: it is not there, cannot be read, or holds something else.
        StorageError: its store refuses.
    """
    try:
        data = parse_yaml(_bytes(path))
    except FileNotFoundError:
        near = _files_near(path) or f"; name a YAML file, e.g. {example}"
        raise ConfigError([f"{path}: there is no such file{near}"]) from None
    except NotPlain as error:
        raise ConfigError([f"{path}: {error}"]) from None
    if not isinstance(data, dict):
        seen = "is empty" if data is None else f"holds a {type(data).__name__} where {parts} are expected"
        raise ConfigError([f"{path}: {seen}; see {example}"])
    return cast("dict[str, Any]", data)


def _files_near(path: Path) -> str:
    """What of the same folder may have been meant."""
    with suppress(OSError, MintError, ValueError):
        names = [each.name for each in files_in(path.parent) if each.suffix in (".yaml", ".yml")]
        near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5) or sorted(names)[:8]
        if near:
            return f"; in {path.parent} there is {', '.join(near)}"
    return ""


def _bytes(path: Path) -> bytes:
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
    return data


class _Refused(yaml.MarkedYAMLError):
    """YAML, but no plain data. `problem` quotes nothing of the text; `more` may."""

    def __init__(self, mark: yaml.Mark, problem: str, more: str = ""):
        super().__init__(problem=problem, problem_mark=mark)
        self.more, self.line = more, mark.line + 1


class _Plain(yaml.constructor.SafeConstructor):
    """What both forms make of nodes."""

    most_values = most_depth = 0
    which = ""  # what has no more than that
    yaml_constructors: dict[Any, Any] = {
        tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (f"{_STANDARD}{name}" for name in _TAGS)
    } | {None: _yaml.SafeLoader.construct_undefined}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = cast(Any, super()).construct_object(node, deep)
        except (ValueError, KeyError, IndexError):  # of PyYAML's own for `!!int x`, and of Python for 5,000 digits
            kind = node.tag.rpartition(":")[2]
            raise _Refused(node.start_mark, f"a value that cannot be read as {kind}") from None
        return _whole(node, value) if isinstance(value, str) else value

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called for each mapping, before the keys that it merges are put into it."""
        flat = self.__dict__.setdefault("flat", set())
        if id(node) not in flat:
            flat.add(id(node))
            _refuse_twice(node)
        super().flatten_mapping(node)


class Settings(_Plain, yaml.SafeLoader):
    most_values, most_depth, which = 20_000, 50, "configuration"
    # A date stays the text that it is written as, and so does a lone `=`.
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] in (*_TAGS, "merge")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        value = super().construct_object(node, deep)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _Refused(node.start_mark, "an integer of more than 64 bits")
        return value


_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document(_Plain, _Fast):
    most_values, most_depth, which = 1_000_000, 100, "document"
    yaml_implicit_resolvers: dict[Any, Any] = {}


for _name, _pattern, _first in (
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^-?(?:0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(?:0|[1-9][0-9]*)(?=[.eE])(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", list("-0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    Document.add_implicit_resolver(_STANDARD + _name, re.compile(_pattern), _first)


def parse_yaml(text: str | bytes, form: type[_Plain] = Settings) -> Any:
    """Plain data.

    Raises:
        NotPlain: why the text is none.
    """
    try:
        _check_size(text, form)
        return _yaml.load(text, form)
    except yaml.reader.ReaderError as error:
        raise NotPlain(_unreadable(error), f"position {error.position}") from None
    except _Refused as error:
        where = f"line {error.line}: {error.problem}"
        raise NotPlain(where + error.more, where) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}" if mark else "no line that is told"
        raise NotPlain(f"is no YAML, {line}: {error.problem or error.context}", line) from None
    except Exception as error:  # PyYAML's own, e.g. of an escape beyond the last character
        raise NotPlain(f"is no YAML ({type(error).__name__})", type(error).__name__) from None


def _check_size(text: str | bytes, form: type[_Plain]) -> None:
    """Refuse tags, and count values as if each alias were written out, before any is made: by the parser's events."""
    sizes: dict[str | None, int] = {}  # of what anchors stand for; 0 while it is open
    open_: list[tuple[str | None, int]] = []
    count = 0
    for event in _yaml.parse(text, form):
        mark = event.start_mark
        if (tag := getattr(event, "tag", None)) and tag != "!" and tag.removeprefix(_STANDARD) not in _TAGS:
            raise _Refused(mark, "a tag", f" ({tag[:40]}), which settings do not have: write the value without it")
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            sizes[anchor] = count - before
        elif isinstance(event, yaml.AliasEvent):
            size = sizes.get(event.anchor, 1)  # of nothing: the composer says so
            if not size:
                raise _Refused(mark, "a value that holds itself")
            count += size
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                open_.append((event.anchor, count))
            sizes[event.anchor] = 0 if isinstance(event, yaml.CollectionStartEvent) else 1
            count += 1
        if len(open_) > form.most_depth:
            raise _Refused(mark, f"more than {form.most_depth} levels, which no {form.which} has")
        if count > form.most_values:
            raise _Refused(mark, f"more than {form.most_values:,} values, which no {form.which} has")


def _refuse_twice(node: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                more = f": {key.value[:60]!r} is there twice, first in line {lines[name]}: keep one"
                raise _Refused(key.start_mark, "two fields of one name", more)
            lines[name] = line


def _whole(node: yaml.Node, text: str) -> str:
    """A text whose escapes, written in pairs as JSON does, are one character each."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _Refused(node.start_mark, "half of a character (a lone surrogate)") from None


def _unreadable(error: yaml.reader.ReaderError) -> str:
    if error.encoding == "unicode":
        return f"holds a character that no text has (code {error.character}): save it as UTF-8 text"
    return f"is no text in {error.encoding.upper()}, from byte {error.position} on: save it as UTF-8"
