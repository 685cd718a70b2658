"""When a checkpoint is made: by steps, by the clock, and as soon as a node is told to leave."""

import threading
from types import SimpleNamespace

import pytest
from transformers import TrainerControl

from mint_ray.alignment.align import save_before_end
from mint_ray.alignment.worker import SaveInTime
from mint_ray.config import AlignmentSection


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def saved_at(saving: SaveInTime, clock: Clock, steps: int, seconds: float, by_steps=()) -> list[int]:
    """The steps after which a checkpoint is made, of so many that take so long each."""
    found, args = [], None
    saving.on_train_begin(args, None, None)
    for step in range(1, steps + 1):
        clock.now += seconds
        control = TrainerControl(should_save=step in by_steps)
        saving.on_step_end(args, SimpleNamespace(global_step=step, max_steps=steps), control)
        if control.should_save:
            found.append(step)
            clock.now += 1.0  # what it takes
            saving.on_save(args, None, control)
    return found


@pytest.mark.parametrize(
    ("seconds", "by_steps", "saved"),
    [
        (50.0, (), [3, 6, 9]),  # a kill loses the two minutes, and the step in which they end
        (1.0, (), []),
        (300.0, (), list(range(1, 10))),
        (50.0, (5,), [3, 5, 8]),  # what was saved by steps needs no saving by the clock
    ],
)
def test_a_checkpoint_is_made_every_two_minutes(seconds, by_steps, saved):
    clock = Clock()
    assert saved_at(SaveInTime(120, clock=clock), clock, 10, seconds, by_steps) == saved


def test_two_minutes_are_the_default():
    assert AlignmentSection(model="a").save_seconds == 120


def test_a_node_that_is_told_to_leave_is_saved_from_once_and_at_once():
    nobody, node = set(), {"node"}
    clock, told = Clock(), iter([nobody, nobody, node, node, node, nobody, node, nobody, nobody])
    saving = SaveInTime(120, leaving=lambda: next(told), clock=clock)
    assert saved_at(saving, clock, 10, 1.0) == [3, 7]


def test_a_job_that_is_told_to_end_is_saved_from_although_a_node_was_told_to_leave_before():
    clock, told = Clock(), iter([{"node"}] * 4 + [{"node", "job"}] * 5)
    assert saved_at(SaveInTime(120, leaving=lambda: next(told), clock=clock), clock, 10, 1.0) == [1, 5]


def test_workers_whose_clocks_differ_save_together():
    said, agree = [], {}

    def first(mine: bool) -> bool:
        agree["now"] = mine
        return mine

    clocks = Clock(), Clock()
    workers = (
        SaveInTime(10, agree=first, clock=clocks[0]),
        SaveInTime(10, agree=lambda _: agree["now"], clock=clocks[1]),
    )
    for step in range(1, 8):
        for worker, clock, seconds in zip(workers, clocks, (4.0, 40.0), strict=True):
            clock.now += seconds
            control = TrainerControl()
            worker.on_step_end(None, SimpleNamespace(global_step=step, max_steps=20), control)
            said.append(control.should_save)
            if control.should_save:
                worker.on_save(None, None, control)
    assert said[::2] == said[1::2] == [False, False, True, False, False, True, False]


@pytest.mark.parametrize("before", [None, "one"])
def test_a_job_that_is_told_to_end_waits_until_its_last_checkpoint_is_noted(before, tmp_path):
    record, told = tmp_path / "checkpoint_manager_snapshot.json", []
    if before:
        record.write_text(before)

    def tell():
        told.append(True)
        threading.Timer(0.3, lambda: record.write_text("another")).start()

    save_before_end(tell, tmp_path, seconds=60)
    assert told and record.read_text() == "another"


def test_a_job_that_is_told_to_end_does_not_wait_for_ever(tmp_path):
    told = []
    save_before_end(lambda: told.append(True), tmp_path, seconds=0.1)
    assert told and not list(tmp_path.iterdir())  # the workers were asked, and no checkpoint ever came


def test_a_job_that_another_has_followed_saves_nothing_where_the_other_works(tmp_path, monkeypatch):
    monkeypatch.setattr("mint_ray.alignment.align.followed", lambda: True)
    save_before_end(pytest.fail, tmp_path, seconds=60)


def test_nothing_is_saved_after_the_last_step_when_the_adapter_is_written():
    clock = Clock()
    assert saved_at(SaveInTime(1, leaving=lambda: {"job"}, clock=clock), clock, 1, 100.0) == []


def test_a_training_goes_on_from_a_checkpoint_that_the_clock_made(make, tmp_path):
    clock = Clock()

    def a_minute_each(*arguments, **options):
        clock.now += 60

    straight = make(save_steps=1000)
    saving = SaveInTime(120, clock=clock)
    passing = SaveInTime(1e9)
    passing.on_step_begin = a_minute_each
    for callback in (passing, saving):
        straight.add_callback(callback)
    straight.train()
    made = sorted(path.name for path in (tmp_path / "scratch").glob("checkpoint-*"))
    assert made == ["checkpoint-4"]  # of 2 and 4 the last is kept; 6 is the last step
    resumed = make(scratch="other")
    resumed.train(resume_from_checkpoint=str(tmp_path / "scratch" / "checkpoint-4"))
    losses = [[row["loss"] for row in each.state.log_history if "loss" in row] for each in (straight, resumed)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
