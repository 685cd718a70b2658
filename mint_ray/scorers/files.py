"""A finished scorer's folder: how it is written, recognised and told from others."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mint_ray.storage import remote, written_folder
from mint_ray.tasks.base import Label, save_labels

SETTINGS = "scorer.json"  # written last: a folder that has it is finished
LABELS = "labels.json"


@contextmanager
def finished_folder(folder: Path, labels: list[Label], settings: dict[str, Any]) -> Iterator[Path]:
    """A folder to write weights and processor into; at the end all files move into `folder`, `scorer.json` last."""
    if remote(folder):
        with written_folder(folder, last=SETTINGS) as temporary:
            yield temporary
            _describe(temporary, labels, settings)
        return
    temporary = folder / ".writing"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    _describe(temporary, labels, settings)
    for path in sorted(temporary.iterdir(), key=lambda p: p.name == SETTINGS):
        path.replace(folder / path.name)
    temporary.rmdir()


def _describe(folder: Path, labels: list[Label], settings: dict[str, Any]) -> None:
    save_labels(labels, folder / LABELS)
    (folder / SETTINGS).write_text(json.dumps(settings))


def scorer_digest(folder: Path, names: Iterable[str]) -> str:
    """A short digest over the scorer's own files: the folder may hold a stage's other files beside them."""
    total = hashlib.sha256()
    for name in (*names, LABELS, SETTINGS):
        if (folder / name).exists():
            total.update(name.encode())
            with (folder / name).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]
