"""Draws docs/images/terminal_start.svg and terminal_end.svg: what a run prints, from a run that was made.

    python docs/terminal.py RUN TERMINAL_LOG

TERMINAL_LOG is what the run printed where there was no terminal: the lines of finished stages are taken as they are, and
the line at work is drawn from the first one that has a rate of fitting.
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from mint_ray.progress import Line, drawn
from mint_ray.reports.terminal import chart

IMAGES = Path(__file__).parent / "images"
WIDTH = 96
FITTING = re.compile(
    r"scorer: fitting, ([\d,]+) of ([\d,]+) steps, ([\d.]+)/s, .* left, (epoch .*, loss [\d.]+), ([\d.]+ of \d+ GiB)"
)


def main(run: Path, log: Path) -> None:
    """Both pictures; the run is called runs/mine in them."""
    lines = log.read_text().splitlines()
    ended = [line for line in lines if re.match(r"\w+: [\d,]+ rows in", line)]
    command = "$ mint-ray run mine.yaml"
    save("start", [command, ended[0], at_work(next(found for line in lines if (found := FITTING.match(line))))])
    summary = json.loads((run / "evaluation" / "metrics.json").read_text())
    size = json.loads((run / "evaluation" / "manifest.json").read_text())["settings"]["task"]["answer_size"]
    report = "Report: runs/mine/evaluation/report.html  (all metrics: --table)"
    save("end", [command, *ended, "", chart(summary, size, WIDTH), report])


def at_work(said: re.Match[str]):
    """The line of a stage at work, as a terminal of this width has it."""
    done, total, rate = (float(said[group].replace(",", "")) for group in (1, 2, 3))
    line = Line("scorer")
    line.begin("fitting", int(total), "steps", now=0)
    seconds = done / rate
    for part in range(1, 31):  # the rate is of the last half minute
        line.advance(done / 30, said[4], now=seconds * part / 30)
    return drawn(line, WIDTH, seconds, said[5])


def save(name: str, shown: list) -> None:
    """One picture; its letters are the reader's own monospaced ones, nothing is loaded from elsewhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for each in shown:
        console.print(each, markup=False, highlight=False, soft_wrap=isinstance(each, str))
    form = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    (IMAGES / f"terminal_{name}.svg").write_text(
        console.export_svg(title="mint-ray", code_format=form, unique_id=f"terminal-{name}")
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
