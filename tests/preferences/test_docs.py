"""The row that the documentation shows is a row."""

import json
import re

from mint_ray.config import PreferencesSection, RankingsSection
from mint_ray.records import PreferencePair
from mint_ray.tasks.rare_disease import RareDisease
from tests.conftest import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "preferences.md").read_text()


def test_the_documented_row_is_a_pair_whose_answers_can_be_read():
    (row,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    pair = PreferencePair.model_validate(json.loads(row))
    task = RareDisease(kind="rare_disease", answer_size=3)
    assert task.parse(pair.chosen[0].content) == [
        "Kabuki syndrome 1",
        "Kabuki syndrome 2",
        "Cornelia de Lange syndrome 1",
    ]
    assert len(pair.rejected_label_ids) == len(task.parse(pair.rejected[0].content)) == 3


def test_the_documented_defaults_are_the_defaults():
    documented = dict(re.findall(r"^\| `(?:rankings|preferences)\.(\w+)` \| `?(\w+)`? \|", DOCUMENT, re.MULTILINE))
    settings = RankingsSection().model_dump() | PreferencesSection().model_dump()
    assert documented == {name: _written(settings[name]) for name in documented}
    assert len(documented) == 8


def _written(value: str | bool | float) -> str:
    return str(value).lower() if isinstance(value, (str, bool)) else f"{value:g}"
