"""The line of a stage: what it says, how it fits, and how workers' news reach it."""

import io
import json

import pytest
from rich.console import Console

from mint_ray import progress
from mint_ray.progress import Line, drawn, duration


def line_at(seconds: float = 39, total: int | None = 100) -> Line:
    line = Line("alignment")
    line.begin("training", total, "steps", now=0)
    for second in range(1, int(seconds) + 1):
        line.advance(1, "loss 0.41", now=second)
    return line


def screen(width: int = 100, **how) -> Console:
    return Console(file=io.StringIO(), width=width, **how)


def test_a_line_says_what_is_done_how_fast_and_how_long_it_takes_still():
    assert line_at(40).texts(40, "3.1 of 16 GiB") == {
        "stage": "alignment",
        "part": "training",
        "done": "40 of 100 steps",
        "rate": "1.0/s",
        "left": "1 min 00 s left",
        "note": "loss 0.41",
        "memory": "3.1 of 16 GiB",
    }
    assert line_at(40, total=None).texts(40, "")["done"] == "40 steps"
    assert line_at(40, total=None).texts(70, "")["left"] == "1 min 10 s so far"


def test_a_rate_is_of_the_last_seconds_so_that_loading_does_not_count_for_ever():
    line = Line("answers")
    line.begin("base", 100, "cases", done=20, note="loading the model", now=0)
    waiting = line.texts(50, "")
    assert (waiting["note"], waiting["left"]) == ("loading the model", "50 s so far") and "rate" not in waiting
    for second in range(100, 160):
        line.advance(1, now=second)
    assert line.rate(160) == pytest.approx(1, rel=0.05)
    assert line.rate(190) < 0.6  # nothing came for half a minute


def test_rows_that_are_tried_again_are_not_more_than_there_are():
    line = line_at(99)
    line.advance(7, now=100)
    assert line.texts(100, "")["done"] == "100 of 100 steps"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_a_line_fits_into_a_terminal_of_any_width(width):
    shown = drawn(line_at(), width, 39, "3.1 of 16 GiB").plain
    assert len(shown) <= width and shown.startswith("alignment  ")
    assert ("39 of 100 steps" in shown) == (width >= 40)
    assert ("━" in shown) == (width >= 80) and ("GiB" in shown) == (width == 120)


def test_a_terminal_that_knows_ascii_alone_gets_no_other_character():
    assert drawn(line_at(), 80, 39, "", plain=True).plain.isascii()
    assert drawn(line_at(), 12, 39, "", plain=True).plain.isascii()


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_read_by_people(seconds, told):
    assert duration(seconds) == told


def test_where_there_is_no_terminal_a_plain_line_comes_every_few_seconds(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0.01)
    console = screen()
    with progress.shown_on(console, console), progress.stage("cases"):
        progress.begin("reading", 50, "rows")
        progress.advance(20)
        while "20 of 50 rows" not in console.file.getvalue():
            pass
    said = console.file.getvalue().splitlines()
    assert said[-1].startswith("cases: reading, 20 of 50 rows") and "\x1b" not in console.file.getvalue()


def test_on_a_terminal_the_line_lives_and_goes_and_what_is_said_stays(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = screen(80, force_terminal=True)
    with progress.shown_on(console, console), progress.stage("cases"):
        progress.begin("reading", 50, "rows")
        progress.advance(20)
        while "20 of 50 rows" not in console.file.getvalue():
            pass
        progress.say("cases: 400 rows")
    text = console.file.getvalue()
    assert "cases: 400 rows\n" in text and text.endswith("\x1b[?25h\r\x1b[1A\x1b[2K")  # wiped, and the cursor is back
    assert "\x1b[32m" not in text and "\x1b[36m" not in text  # no colour


def test_a_worker_s_news_are_taken_from_its_output_and_nothing_else_is(monkeypatch, capsys):
    monkeypatch.setattr(progress, "in_worker", lambda: True)
    monkeypatch.setattr(progress, "_pending", {"count": 0.0, "told": 0.0})
    progress.begin("training", 8, "steps", done=2)
    progress.advance(3, "loss 1.0")
    progress.advance(1)  # within half a second: kept
    printed = capsys.readouterr().out.splitlines()
    progress.flush()
    printed += capsys.readouterr().out.splitlines()
    assert [json.loads(line.removeprefix(progress.MARK)) for line in printed][1:] == [
        {"count": 3.0, "note": "loss 1.0"},
        {"count": 1.0, "note": ""},
    ]
    with progress.shown_on(screen(), screen()) as shown, progress.stage("alignment"):
        assert all(progress.heard(f"(worker pid=7) {line}") for line in printed)
        assert progress.heard(f"{progress.MARK}{{cut sho")
        assert not progress.heard("alignment: loss 0.3")
        assert (shown.line.part, shown.line.done, shown.line.total) == ("training", 6, 8)


def test_without_a_job_nothing_is_shown_or_printed(capsys):
    with progress.stage("cases"):
        progress.begin("reading")
        progress.advance(10)
        progress.flush()
    assert capsys.readouterr() == ("", "")
