"""How a job ends: what it says, and its status."""

import signal

import pytest

from mint_ray.command import reported
from mint_ray.errors import RunError


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RunError("no such run"), 1, "RunError: no such run\n"),
        (KeyboardInterrupt(), 130, "Stopped. What is complete is kept: the same command goes on.\n"),
        (SystemExit(signal.SIGTERM), signal.SIGTERM, ""),
    ],
)
def test_a_job_s_end_is_one_sentence_and_a_status(error, status, said, capsys):
    with pytest.raises(SystemExit) as ended, reported():
        raise error
    assert (ended.value.code, capsys.readouterr().err) == (status, said)
