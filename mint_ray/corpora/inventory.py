"""What lies in a corpus folder: every file is read, refused or left out by name, and none of them unseen.

Files in = files read + files refused + files left out. A member of an archive counts as a file, in place of the archive.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mint_ray.errors import CorpusError, RowError
from mint_ray.storage import files_below, remote

ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z", ".rar")
_OF_A_SYSTEM = ("thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx")
HIDDEN = "hidden"

Verdict = str | RowError | None
"""What becomes of a file: why it is left out, why it is refused, or that it is read (None)."""


@dataclass
class Inventory:
    """The files of a source by the names that a case's `source` begins with, relative to one folder."""

    taken: list[str] = field(default_factory=list)
    refused: list[tuple[str, RowError]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @staticmethod
    def together(sources: Mapping[str, Inventory]) -> Inventory:
        """The files of several sources, each under its source's name as in `source_name`."""
        whole = Inventory()
        for name, each in sources.items():
            whole.taken += [source_name(name, file) for file in each.taken]
            whole.refused += [(source_name(name, file), why) for file, why in each.refused]
            whole.left_out += [(source_name(name, file), why) for file, why in each.left_out]
        return whole

    def sort(self, name: str, verdict: Verdict) -> bool:
        """Put a file where it belongs; whether it is read."""
        if verdict is None and not is_text(name):
            verdict = RowError(
                "unreadable-name", "file", "a name that is not UTF-8", "a name in UTF-8; rename the file"
            )
        if isinstance(verdict, RowError):
            self.refused.append((shown(name), verdict))
        elif verdict is not None:
            self.left_out.append((shown(name), verdict))
        else:
            self.taken.append(name)
        return verdict is None

    def figures(self, refused_wholly: set[str]) -> dict[str, Any]:
        """The counts of the stage's manifest. `refused_wholly`: the sources of refusals that stand for a whole file."""
        refused = len(self.refused) + sum(shown(name) in refused_wholly for name in self.taken)
        read, left_out = len(self.taken) + len(self.refused) - refused, len(self.left_out)
        counts = {"in": read + refused + left_out, "read": read, "refused": refused, "left_out": left_out}
        return counts | {"why": dict(self._why())}

    def told(self, first: int = 3) -> str:
        """What was left out, in words: counts by why, and the first names."""
        if not self.left_out:
            return "nothing"
        why = "; ".join(f"{n} {reason}" for reason, n in self._why()[:5]) + ("; ..." if len(self._why()) > 5 else "")
        names = ", ".join(name for name, _ in self.left_out[:first]) + (", ..." if len(self.left_out) > first else "")
        return f"{why} (first: {names})"

    def _why(self) -> list[tuple[str, int]]:
        return Counter(reason for _, reason in self.left_out).most_common()


def source_name(source: str, file: str) -> str:
    """A file, or a row's place, of one of several sources."""
    return f"{source}: {file}"


def shown(text: str, most: int = 4096) -> str:
    """A text of a source as it can be written anywhere: without control characters, lone surrogates or great length."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def is_text(name: str) -> bool:
    """Whether a string can be written in UTF-8: without lone surrogates, as in names of other encodings."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def survey(path: Path, root: Path, judge: Callable[[str], Verdict]) -> tuple[list[Path], Inventory]:
    """The files that are read, in the order of their names, and the inventory of all.

    Hidden files, those of a system, and whatever is no regular file (a link to nowhere or to a folder, a pipe, a device,
    a folder that may not be listed) are left out before they are judged, and never opened.

    Args:
        path: a file or a folder, searched to the bottom.
        root: the folder that names count from.
        judge: what becomes of a file, by its name relative to `path` (a single file: its own name).

    Raises:
        CorpusError: there is nothing by that name, or something that is neither file nor folder.
    """
    found, inventory = [], Inventory()
    for file, fault in _everything(path):
        inside = (file.relative_to(path) if file != path else Path(file.name)).as_posix()
        if inventory.sort(file.relative_to(root).as_posix(), fault or judge(inside)):
            found.append(file)
    return found, inventory


def _everything(path: Path) -> list[tuple[Path, str | None]]:
    """All that lies below a path, in order, each with why it cannot be looked at, if so."""
    if remote(path):
        files = files_below(path)
        if not files and not path.exists():
            raise CorpusError(f"{path}: is not there; name a file or a folder")
        return [(file, None if file == path else _hidden(file, path)) for file in files]
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise CorpusError(f"{path}: is not there; name a file or a folder") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be looked at ({type(error).__name__}); name a file or a folder") from None
    if stat.S_ISDIR(mode):
        return sorted(_walk(path))
    if not stat.S_ISREG(mode):
        raise CorpusError(f"{path}: is no regular file; name a file or a folder")
    return [(path, None)]


def _walk(folder: Path) -> Iterator[tuple[Path, str | None]]:
    closed: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=closed.append):
        for name in folders:
            if (link := Path(parent, name)).is_symlink():
                yield link, "a link to a folder, which is not followed"
        for name in names:
            file = Path(parent, name)
            yield file, _hidden(file, folder) or _irregular(file)
    for error in closed:
        yield Path(str(error.filename)), f"a folder that cannot be listed ({type(error).__name__})"


def _hidden(file: Path, folder: Path) -> str | None:
    return HIDDEN if hidden(file.relative_to(folder).parts) else None


def hidden(parts: Sequence[str]) -> bool:
    """Whether a name, or a folder on the way to it, is of those that a system leaves and a listing hides."""
    return any(part.startswith(".") or part.lower() in _OF_A_SYSTEM for part in parts)


def _irregular(file: Path) -> str | None:
    try:
        mode = file.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        return f"a link that leads nowhere ({type(error).__name__})"
    return None if stat.S_ISREG(mode) else "no regular file"


_ENDING = re.compile(r"(?:\.[a-z][a-z0-9_]{0,15})?\.(?:gz|bz2|xz|zst)|\.[a-z][a-z0-9_]{0,15}")


def ending_of(name: str) -> str:
    """A file's ending for counting: `.json.gz`, `.txt`; `no ending`, also for what is too odd to be one."""
    suffixes = Path(name.lower()).suffixes
    found = [last for last in ("".join(suffixes[-2:]), "".join(suffixes[-1:])) if _ENDING.fullmatch(last)]
    return found[0] if found else "no ending"


def unread(name: str) -> str:
    """Why a file is left out whose ending is none that the reader takes."""
    if name.lower().endswith(ARCHIVES):
        return f"{ending_of(name)}: an archive that is not opened; unpack it"
    return f"{ending_of(name)}: is not read here"
