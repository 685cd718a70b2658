"""The whole attack: kills of the line, malformed sources through Ray Data, and both services; one table at its end.

    python -m benchmarks.attack out/attack [--kills 102] [--sources 5000] [--requests 10000] [--soak-seconds 600]

Each part is a script of its own, here called with its size; 0 leaves it out. Results lie as JSON lines in the folder, as
they come; a second call with the same folder goes on with what is left. `summary.json` has the table's figures. Status
1 if anything differs from what must be, or a part could not end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.attack.results import Results, Row, summary

HERE = Path(__file__).parent


def main() -> None:
    options = arguments()
    out = options.out.resolve()
    statuses = {part: carried_out(part, flags, out) for part, flags in parts(options).items()}
    rows = [row for part in statuses for row in Results(out / f"{part}.jsonl").rows]
    figures = {"parts": statuses, "kinds": summary(rows), "differs": [row for row in rows if row["differs"]]}
    (out / "summary.json").write_text(json.dumps(figures, indent=1))
    print(table(figures["kinds"], figures["differs"], statuses))
    sys.exit(any(statuses.values()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=102)
    parser.add_argument("--sources", type=int, default=5_000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--overload-seconds", type=float, default=120)
    parser.add_argument("--soak-seconds", type=float, default=600)
    return parser.parse_args()


def parts(options: argparse.Namespace) -> dict[str, list[str]]:
    """The flags of each part that has anything to do."""
    sizes = {name: ["--" + name.replace("_", "-"), str(size)] for name, size in vars(options).items() if name != "out"}
    services = ["requests", "overload_seconds", "soak_seconds"]
    flags = {"kills": ["kills"], "sources": ["sources"], "services": services}
    return {
        part: [flag for name in names for flag in sizes[name]]
        for part, names in flags.items()
        if any(vars(options)[name] for name in names)
    }


def carried_out(part: str, flags: list[str], out: Path) -> int:
    """The exit status of a part, whose results go to the folder."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    return subprocess.run([sys.executable, HERE / f"{part}.py", out, *flags], env=environment).returncode


def table(kinds: dict[str, Row], differing: list[Row], statuses: dict[str, int]) -> str:
    """What was tried and what differs, by kind, each difference in its own words, and which part could not end."""
    rows = [f"{kind:40} {row['tried']:8} {row['differing']:8}  {_more(row)}" for kind, row in sorted(kinds.items())]
    said = [f"{row['kind']}: {what}" for row in differing for what in row["differs"]]
    broken = [f"{part} could not end: status {status}" for part, status in statuses.items() if status not in (0, 1)]
    heading = f"{'what':40} {'tried':>8} {'differ':>8}"
    return "\n".join(["", heading, *rows, *said, f"{len(said)} differences", *broken])


def _more(row: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("tried", "differing"))


if __name__ == "__main__":
    main()
