"""README and docs hold: every link leads somewhere, every `mint-ray` command and every file that they name is there."""

import re
import shlex
from pathlib import Path

import pytest

from mint_ray.command import LINES, OTHERS, STAGES
from mint_ray.recipes import names
from tests.conftest import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = {**LINES, **STAGES, **OTHERS}


def broken_links(page: Path, text: str) -> list[str]:
    """The links of a page that lead to no file, or to no heading of one."""
    found = []
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (heading and heading not in headings(file.read_text())):
            found.append(target)
    return found


def headings(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(text: str) -> list[list[str]]:
    """The words of each `mint-ray` command in a page's shell blocks."""
    lines = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    found = [re.match(r"(?:\S*/)?mint-ray (.*)", line.strip()) for line in lines if not line.lstrip().startswith("#")]
    return [shlex.split(each[1].split(" | ")[0], comments=True) for each in found if each]


def wrong_commands(text: str) -> list[str]:
    """The commands of a page that mint-ray does not have, or that name a recipe that does not ship."""
    wrong = []
    for words in commands(text):
        name = words[0]
        if name.startswith("-"):
            continue
        config = words[1] if len(words) > 1 and (name in LINES or name in STAGES) else None
        missing = config and re.fullmatch(r"[a-z0-9_]+", config) and config not in names()
        if name not in COMMANDS or missing:
            wrong.append(" ".join(words))
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    assert broken_links(page, page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one_of_ours(page):
    assert wrong_commands(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_job_recipe_and_deployment_that_is_named_is_there(page):
    named = re.findall(
        r"(?<![\w/])((?:jobs|configs|deployments|benchmarks|findings)/[\w./-]+\.(?:py|yaml|sh))", page.read_text()
    )
    homes = (REPOSITORY, REPOSITORY / "deployments" / "kuberay")
    assert [name for name in named if "NAME" not in name and not any((home / name).exists() for home in homes)] == []


def test_what_is_wrong_is_found():
    page = REPOSITORY / "README.md"
    assert broken_links(page, "[a](docs/nothing.md) [b](docs/metrics.md#nothing) [c](docs/metrics.md)") == [
        *("docs/nothing.md", "docs/metrics.md#nothing")
    ]
    text = "```bash\n.venv/bin/mint-ray rum demo\nmint-ray run demi\nmint-ray run demo --set a=b | cat\n```\n"
    assert wrong_commands(text) == ["rum demo", "run demi"]
