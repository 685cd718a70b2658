"""A job's log: everything but the job's own lines, and no word of a patient."""

import io
import logging
import os
import subprocess
import sys

import pytest
from rich.console import Console

from mint_ray import progress
from mint_ray.logs import Unquoted, console, kept

WORKER = "(\x1b[36mPartScorer pid=12, ip=10.0.0.2\x1b[0m) "
TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "scorer.py", line 3, in score',
    "    raise ValueError(view.text)",
    "ValueError: Quokkabert came in",
    "with Quokkabert's brother",
    "",
    "During handling of the above exception, another exception occurred:",
    "",
    "Traceback (most recent call last):",
    '  File "batches.py", line 9, in _work',
    "torch.cuda.OutOfMemoryError: Quokkabert",
    "12:00:00 INFO mint_ray.runs: going on",
]


def test_of_a_traceback_the_frames_and_the_types_are_kept():
    unquoted = Unquoted()
    found = [line for each in TRACEBACK if (line := unquoted(each)) is not None]
    assert "Quokkabert" not in "".join(found)
    assert [line for line in found if "not kept" in line] == [
        "ValueError: (not kept)",
        "torch.cuda.OutOfMemoryError: (not kept)",
    ]
    assert found[0].startswith("Traceback") and found[-1].endswith("going on") and len(found) == len(TRACEBACK) - 1


@pytest.mark.parametrize(
    "line",
    ["mint_ray.errors.ModelError: runs/a: no such model", "ray.exceptions.OutOfMemoryError: 3 workers", "INFO: ok"],
)
def test_errors_of_ours_and_of_ray_are_kept_whole(line):
    assert Unquoted()(line) == line


def test_everything_printed_goes_to_the_log_and_our_warnings_to_the_screen(tmp_path, capfd):
    screen = Console(file=io.StringIO(), width=80)
    with progress.shown_on(screen, screen), kept(tmp_path) as path:
        print("from a library")
        os.write(2, b"from beneath Python\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        print(WORKER + "from a worker\n" + WORKER + progress.MARK + '{"count": 1, "note": ""}')
        print("half a line, ", end="")
        print("and the rest")
        for line in TRACEBACK:
            print(WORKER + line, file=sys.stderr)
        for name in ("mint_ray.corpora", "elsewhere"):
            logging.getLogger(name).info("%s informs", name)
            logging.getLogger(name).warning("%s warns", name)
        logging.getLogger("elsewhere").error("elsewhere fails")
    text = path.read_text()
    for part in ("from a library", "from beneath Python", "from a child", "half a line, and the rest"):
        assert part in text
    assert "(PartScorer pid=12, ip=10.0.0.2) from a worker" in text and "mint_ray.corpora informs" in text
    assert progress.MARK not in text and "Quokkabert" not in text
    assert screen.file.getvalue().splitlines() == ["mint_ray.corpora warns", "elsewhere fails"]
    assert capfd.readouterr() == ("", "")
    print("afterwards")
    assert capfd.readouterr().out == "afterwards\n" and path.read_text() == text


def test_a_job_whose_reader_goes_works_on(tmp_path):
    code = f"""
import time
from pathlib import Path
from mint_ray import progress
from mint_ray.logs import console, kept
with progress.shown_on(console(2), console(1)), kept(Path({str(tmp_path)!r})):
    for number in range(2000):
        progress.say(f"line {{number}}")
Path({str(tmp_path / "end")!r}).touch()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr.readline() == b"line 0\n"
    process.stderr.close()
    process.stdout.close()
    assert process.wait(60) == 0 and (tmp_path / "end").exists()


def test_a_console_leads_to_where_standard_error_led_when_it_was_made(tmp_path, capfd):
    screen = console(2)
    with kept(tmp_path):
        screen.print("seen")
    assert capfd.readouterr().err == "seen\n"
