"""Streams a PanNuke fold of full size through cases, or through pairs, and prints rate and peak memory.

    python benchmarks/pannuke_stream.py --folder /data/scratch [--patches 2656] [--pairs]

The fold is made on disk in chunks: 2,656 patches of 256 x 256 x 3 in float64, 4.2 GB, of synthetic pixels.
Memory is the sum over this process and all that it started, of what is private to each (Pss: shared pages are
counted once; pages of the mapped file, which the kernel may drop at any time, are counted apart).
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from mint_ray.config import parse_config
from mint_ray.runs import Run
from mint_ray.tasks.tissue import TISSUES

CHUNK = 64


def make_fold(folder: Path, patches: int) -> None:
    """Write images.npy and types.npy of fold 1, unless they are there."""
    part = folder / "images" / "fold1"
    if (part / "types.npy").exists():
        return
    part.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(part / "images.npy", "w+", np.float64, (patches, 256, 256, 3))
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(256), np.arange(256))[..., None] % 160 + np.array([40, 10, 60])
    for start in range(0, patches, CHUNK):
        stop = min(start + CHUNK, patches)
        images[start:stop] = smooth + rng.integers(0, 30, (stop - start, 256, 256, 1))
        images.flush()
    np.save(part / "types.npy", np.array([TISSUES[i % 19].id for i in range(patches)]))


class Memory(threading.Thread):
    """Peaks, in bytes, over the driver, Ray's workers and Ray itself: anonymous memory, and pages of files."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peaks, self.done = {"driver and workers": 0, "all of Ray": 0, "largest process": 0}, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.5):
            anonymous = dict(
                filter(None, map(_anonymous, [psutil.Process(), *psutil.Process().children(recursive=True)]))
            )
            ours = sum(size for name, size in anonymous.items() if name[1].startswith(("ray::", "driver")))
            for key, size in zip(self.peaks, (ours, sum(anonymous.values()), max(anonymous.values())), strict=True):
                self.peaks[key] = max(self.peaks[key], size)


def _anonymous(process: psutil.Process) -> tuple[tuple[int, str], int] | None:
    try:
        name = "driver" if process.pid == psutil.Process().pid else " ".join(process.cmdline()[:1])
        memory = process.memory_info()
        return (process.pid, name), memory.rss - memory.shared
    except psutil.Error:
        return None


def settings(options: argparse.Namespace) -> dict:
    """One fold, split by the settings, a scorer of random weights."""
    return {
        "run": {"dir": str(options.folder / "run")},
        "task": {"kind": "tissue"},
        "corpus": {"kind": "pannuke", "folder": str(options.folder), "folds": {1: None}},
        "scorer": {"kind": "clip", "epochs": 1, "batch_size": 64},
        "preferences": {"chosen": 5, "rejected": 5, "cut": 5},
        "alignment": {"model": "packaged:idefics3-nuclei-140m"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="5 GB of scratch")
    parser.add_argument("--patches", type=int, default=2656)
    parser.add_argument("--pairs", action="store_true", help="fit a scorer for one epoch and make pairs, too")
    options = parser.parse_args()
    make_fold(options.folder, options.patches)
    from mint_ray.cluster import ray_session
    from mint_ray.corpora.prepare import prepare_cases
    from mint_ray.preferences.build import build_preferences
    from mint_ray.rankings.build import build_rankings
    from mint_ray.scorers.fitting.fit import fit_scorer

    config = parse_config(settings(options))
    run = Run(config)
    run.clear_from("cases")
    stages = {
        "cases": prepare_cases,
        "scorer": fit_scorer,
        "rankings": build_rankings,
        "preferences": build_preferences,
    }
    with ray_session(config.cluster):
        for name, work in list(stages.items())[: 4 if options.pairs else 1]:
            memory, started = Memory(), time.monotonic()
            memory.start()
            run.carry_out(name, work)
            seconds = time.monotonic() - started
            memory.done.set()
            peaks = ", ".join(f"{key} {size / 2**20:.0f} MiB" for key, size in memory.peaks.items())
            print(f"{name}: {options.patches / seconds:.1f} patches/s, {seconds:.0f} s; peak {peaks}", flush=True)


if __name__ == "__main__":
    main()
