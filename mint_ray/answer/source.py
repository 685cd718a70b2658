"""What a path of new patients holds: the reader that takes it, with settings that need no labels."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mint_ray.config import Configuration, parse_config, parse_overrides
from mint_ray.errors import ConfigError
from mint_ray.runs import Run
from mint_ray.storage import files_below, opened

_TABLE = (".parquet", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_LOOKED_AT = 20  # files of a folder


def configuration(
    finished: Run,
    source: Path,
    folder: Path,
    kind: str | None = None,
    given: Iterable[str] = (),
    endpoint: str | None = None,
) -> Configuration:
    """The finished run's configuration, over another corpus and in another folder.

    Args:
        kind: the reader, as `corpus.kind`; None: the one that `source` looks made for.
        given: further settings of the reader, as `key=value`.
        endpoint: where the models are being served, in place of an engine of one's own.

    Raises:
        ConfigError: the settings do not fit, or the source is of another task than the run's.
    """
    corpus: dict[str, Any] = {"kind": kind or kind_of(source), "path": str(source), "labelled": False}
    corpus |= parse_overrides(given)
    if corpus["kind"] == "phenopackets" and finished.config.task.entity == "gene":
        corpus.setdefault("label", "gene")
    settings = finished.config.model_dump(mode="json")
    settings["run"]["dir"] = str(folder)
    settings["inference"] |= {"split": "test"} | ({"endpoint": endpoint} if endpoint else {})
    return parse_config({**settings, "corpus": corpus})


def kind_of(source: Path) -> str:
    """The reader that a file, or most likely a folder, is made for.

    Raises:
        ConfigError: there is nothing there.
    """
    files = files_below(source)[:_LOOKED_AT]
    if not files:
        raise ConfigError([f"{source}: is no file and no folder that holds any: name the new patients' file or folder"])
    tables = [file for file in files if file.name.lower().endswith(_TABLE)]
    return "table" if tables and all(map(_of_cases, tables)) else "phenopackets"


def _of_cases(file: Path) -> bool:
    """Whether a table's rows are cases; a line of JSON may also be a phenopacket."""
    if file.name.lower().endswith(".parquet"):
        return True
    try:
        with opened(file) as raw, gzip.open(raw) if file.name.lower().endswith(".gz") else nullcontext(raw) as lines:
            return "case_id" in json.loads(lines.readline())
    except (OSError, ValueError, TypeError):
        return True  # the reader of tables says what is wrong
