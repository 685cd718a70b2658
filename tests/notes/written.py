"""Notes written by hand, with what they say marked in place: `[words|+Name of the term]`.

`+` observed, `-` excluded, `~` a relative's, `?` uncertain, `.` nothing. The first line of a note has sex and age.
"""

from __future__ import annotations

import re
from pathlib import Path

from mint_ray.hpo import ontology
from tests.notes.gold import GoldNote

_MARK = re.compile(r"\[([^\[\]|]+)\|([-+~?.])([^\[\]]*)\]")
_KINDS = {"+": "observed", "-": "excluded", "~": "family", "?": "uncertain"}


def written(which: str) -> list[GoldNote]:
    """The notes of `written_development.txt` or `written_held_out.txt`."""
    text = Path(__file__).with_name(f"written_{which}.txt").read_text()
    return [_note(each.strip()) for each in text.split("====")]


def _note(marked: str) -> GoldNote:
    head, _, body = marked.partition("\n")
    sex, age = head.removeprefix("#:").split()
    note = GoldNote(_MARK.sub(r"\1", body), sex=sex, age_years=float(age))
    for _, kind, name in _MARK.findall(body):
        if kind != ".":
            term = ontology().named(name)
            assert term, name
            getattr(note, _KINDS[kind]).add(term.id)
    return note
