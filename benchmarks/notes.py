"""Notes a second, and how well they are read: ours against a dictionary of 30 lines, in one run.

    OMP_NUM_THREADS=1 python benchmarks/notes.py [--packets phenopackets.jsonl.gz] [--notes 400] [--processes 2]

Notes are made of published packets by templates (tests/notes/gold.py), each as long as `--characters` says by joining
several. Reading alone is timed, by the CPU time of so many processes with a core each; the lexicon, which each process
builds once, is told apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

from tests.conftest import REAL_DATA
from tests.notes.gold import DEVELOPMENT, HELD_OUT, GoldNote, gold_note, packets
from tests.notes.scores import ours, plain_reader, scores
from tests.notes.written import written

READERS = {"ours": ours, "dictionary": plain_reader}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=Path, default=REAL_DATA / "phenopackets" / "phenopackets.jsonl.gz")
    parser.add_argument("--notes", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--characters", type=int, default=2000)
    options = parser.parse_args()
    found = [packet for packet in packets(options.packets) if packet[3]]
    found = found[:: max(1, len(found) // options.notes)][: options.notes]
    sets = {
        "templates, development": [gold_note(packet, DEVELOPMENT, 0) for packet in found],
        "templates, held out": [gold_note(packet, HELD_OUT, 0) for packet in found],
        "by hand, development": written("development"),
        "by hand, held out": written("held_out"),
    }
    for title, notes in sets.items():
        for name, reader in READERS.items():
            print(f"{title:24} {name:11}", told(scores(notes, reader)), flush=True)
    texts = longer(sets["templates, held out"], options.characters)
    for name in READERS:
        building, rate = timed(name, texts, options.processes)
        print(f"{name:11} {rate:6.0f} notes/s of {options.characters} characters, {options.processes} processes; "
              f"ready in {building:.1f} s of CPU", flush=True)  # fmt: skip


def told(figures: dict[str, float]) -> str:
    shares = ("precision", "recall", "precision of excluded", "recall of excluded")
    wrong = [f"{kind} {figures[f'{kind} taken for observed']:.0f}/{figures[kind]:.0f}" for kind in ("excluded", "family", "uncertain")]  # fmt: skip
    return "  ".join(f"{name} {figures[name]:.1%}" for name in shares) + "  taken for observed: " + ", ".join(wrong)


def longer(notes: Sequence[GoldNote], characters: int) -> list[str]:
    """Texts of so many characters, of notes one after the other."""
    whole = "\n\n".join(note.text for note in notes)
    return [whole[start : start + characters] for start in range(0, len(whole) - characters, characters)]


def timed(name: str, texts: Sequence[str], processes: int) -> tuple[float, float]:
    """CPU seconds until a process is ready, and the texts that so many processes with a core each read in a second."""
    with get_context("spawn").Pool(processes, _read, (name, texts[0])) as pool:
        building = pool.apply(time.process_time)
        spent = sum(pool.starmap(_read, [(name, text) for text in texts], chunksize=8))
        return building, processes * len(texts) / spent


def _read(name: str, text: str) -> float:
    """The CPU seconds that it takes."""
    started = time.process_time()
    READERS[name](text)
    return time.process_time() - started


if __name__ == "__main__":
    main()
