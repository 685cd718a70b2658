"""What goes over the socket between a replica and its scorers' processes: MessagePack, which holds values and no code.

A message is its length in eight bytes, and then: a batch of views; or what became of it, each row's scores as bytes of
little-endian float32, or the four strings of a `RowError`; or first of all the scorer's card.
"""

from __future__ import annotations

from typing import Any, BinaryIO, NamedTuple

import msgpack
import numpy as np

from mint_ray.errors import ModelError, RowError
from mint_ray.tasks.base import Label, View

Row = np.ndarray | RowError
LENGTH = 8  # bytes before a message
FLOATS = np.dtype("<f4")


class Scored(NamedTuple):
    """What became of a batch: for each view its scores over all labels, or why it has none; seconds of both stages."""

    rows: list[Row]
    prepare: float
    forward: float


class Card(NamedTuple):
    """What a scorer is."""

    name: str
    digest: str
    labels: list[Label]
    modalities: tuple[str, ...]


def framed(packed: bytes) -> bytes:
    return len(packed).to_bytes(LENGTH) + packed


def receive(stream: BinaryIO) -> bytes:
    """The next message; EOFError where the other side has gone."""
    length = int.from_bytes(stream.read(LENGTH))
    message = stream.read(length)
    if not length or len(message) < length:
        raise EOFError
    return message


def packed_views(views: list[View]) -> bytes:
    return _packed([view.model_dump() for view in views])


def unpacked_views(message: bytes) -> list[View]:
    return [View(**fields) for fields in _unpacked(message)]


def packed_scored(scored: Scored) -> bytes:
    return _packed([[_packed_row(row) for row in scored.rows], scored.prepare, scored.forward])


def unpacked_scored(message: bytes) -> Scored:
    rows, prepare, forward = _unpacked(message)
    return Scored([_row(row) for row in rows], prepare, forward)


def packed_card(card: Card | str) -> bytes:
    """A card, or why there is none."""
    if isinstance(card, str):
        return _packed(card)
    return _packed([card.name, card.digest, [label.model_dump() for label in card.labels], card.modalities])


def unpacked_card(message: bytes) -> Card:
    """The card.

    Raises:
        ModelError: there is none.
    """
    card = _unpacked(message)
    if isinstance(card, str):
        raise ModelError(card)
    name, digest, labels, modalities = card
    return Card(name, digest, [Label(**label) for label in labels], tuple(modalities))


def _packed_row(row: Row) -> bytes | list[str]:
    return (
        [row.reason, row.field, row.seen, row.expected] if isinstance(row, RowError) else row.astype(FLOATS).tobytes()
    )


def _row(packed: bytes | list[str]) -> Row:
    return np.frombuffer(packed, FLOATS) if isinstance(packed, bytes) else RowError(*packed)


def _packed(value: Any) -> bytes:
    packed = msgpack.Packer(unicode_errors="surrogatepass")  # JSON's text may hold half of a pair
    return packed.pack(value)


def _unpacked(message: bytes) -> Any:
    return msgpack.unpackb(message, unicode_errors="surrogatepass")
