"""One version: of the package, of what pip is told, and of the newest section of CHANGELOG.md."""

import re
import tomllib

import mint_ray
from tests.conftest import REPOSITORY

SECTIONS = re.findall(r"^## \[(\S+)\] - (\S+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_newest_section_of_the_changes_is_of_this_version():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == mint_ray.__version__ == SECTIONS[0][0]


def test_versions_fall_and_only_the_newest_may_be_without_a_day():
    numbers = [tuple(map(int, version.split("."))) for version, _ in SECTIONS]
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", day) for _, day in SECTIONS[1:])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d|unreleased", SECTIONS[0][1])
