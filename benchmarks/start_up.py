"""How long a command takes to answer `--help` and a wrong setting: CPU seconds, beside `python -c pass`.

    python -m benchmarks.start_up

Prints the median of `RUNS` runs each, taken in turn, and its ratio to the empty interpreter. CPU time, user and system, of
the process and its children: the machine's other work counts little.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path

RUNS = 7
REPOSITORY = Path(__file__).parent.parent
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "mint-ray --help": ["-m", "mint_ray", "--help"],
    "mint-ray run --help": ["-m", "mint_ray", "run", "--help"],
    "mint-ray run demo, a wrong setting": ["-m", "mint_ray", "run", "demo", "--set", "alignment.learning_rte=1"],
    "mint-ray run demo, a wrong value": ["-m", "mint_ray", "run", "demo", "--set", "preferences.chosen=0"],
    "mint-ray run dmo, no such recipe": ["-m", "mint_ray", "run", "dmo"],
}


def main() -> None:
    for command in COMMANDS.values():
        seconds(command)  # fills the file system's cache and writes the bytecode
    taken = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    empty = statistics.median(taken["python -c pass"])
    for name, each in taken.items():
        middle = statistics.median(each)
        print(f"{name:36} {middle:.3f} s ({min(each):.3f} to {max(each):.3f}), {middle / empty:.1f} x python -c pass")


def seconds(arguments: list[str]) -> float:
    """CPU time of one call."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, cwd=REPOSITORY, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
