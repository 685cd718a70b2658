"""What crosses between a replica and its scorers' processes comes out as it went in, and holds no code."""

import io
import pickle

import msgpack
import numpy as np
import pytest

from mint_ray.errors import ModelError, RowError
from mint_ray.service import wire
from mint_ray.tasks.base import Label, View

VIEWS = [
    View(text="Kleinwüchsig \ud800", image=b"\x00\xff"),
    View(text=None, withheld=("HP:0000271",), context=("a", "b")),
]


def test_views_come_out_as_they_went_in():
    assert wire.unpacked_views(wire.packed_views(VIEWS)) == VIEWS


def test_scores_and_reasons_come_out_as_they_went_in():
    row, why = np.float32([-0.5, -1e30, 0.0]), RowError("not-scorable", "image", "nothing", "a picture")
    scored = wire.unpacked_scored(wire.packed_scored(wire.Scored([row, why], 0.25, 0.5)))
    assert scored.rows[0].dtype == np.float32 and scored.rows[0].tolist() == row.tolist()
    assert isinstance(scored.rows[1], RowError) and str(scored.rows[1]) == str(why)
    assert scored[1:] == (0.25, 0.5)


def test_a_card_or_why_there_is_none():
    card = wire.Card("toy", "00ff", [Label(id="L", name="Label", synonyms=("S",))], ("image", "text"))
    assert wire.unpacked_card(wire.packed_card(card)) == card
    with pytest.raises(ModelError, match="no such weights"):
        wire.unpacked_card(wire.packed_card("no such weights"))


class Code:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("unpacked", [wire.unpacked_views, wire.unpacked_scored, wire.unpacked_card])
def test_a_pickle_runs_nothing(unpacked, capsys):
    with pytest.raises((msgpack.exceptions.UnpackException, ValueError, TypeError)):
        unpacked(pickle.dumps(Code()))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("cut", [0, 4, 8, 10])
def test_half_a_message_is_the_end(cut):
    whole = wire.framed(wire.packed_views(VIEWS))
    assert wire.receive(io.BytesIO(whole)) == whole[wire.LENGTH :]
    with pytest.raises(EOFError):
        wire.receive(io.BytesIO(whole[:cut]))
