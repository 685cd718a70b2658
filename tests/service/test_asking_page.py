"""The page of the aligned model in a real browser: by keyboard alone, on a phone, its answer as it is written.

The application is the real one, behind its guards; beneath it is an engine that says what a test lets it say, and a scorer
that counts letters.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi.responses import StreamingResponse
from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionRequest

from mint_ray.client import AsyncScorerClient
from mint_ray.config import load_config
from mint_ray.service import app as scorer_app
from mint_ray.service import pages
from mint_ray.service.chat import add_page, create_app
from mint_ray.service.engine import Engine
from mint_ray.service.guards import guarded
from mint_ray.service.metrics import HttpMetrics, Metrics
from mint_ray.service.openai_errors import error_response
from mint_ray.service.ports import free_ports
from mint_ray.service.questions import PATIENCE, Questions
from mint_ray.service.readiness import Readiness
from mint_ray.service.scoring import LocalScoring
from mint_ray.service.settings import LimitsSection, ModelLimits
from mint_ray.tasks.rare_disease import disease_label
from tests.browser import PHONE, WIDE, Browser, browser
from tests.conftest import REPOSITORY
from tests.service import test_chat
from tests.service.toy import ToyScorer

TOKEN = "0123456789abcdef0123"
IDS = ["OMIM:147920", "OMIM:122470", "OMIM:194050"]  # Kabuki, Cornelia de Lange, Williams
LINES = ["POTENTIAL_DISEASES:", "1. 'Kabuki syndrome 1'", "2. 'Williams-Beuren syndrome'", "3. 'Nobody syndrome'"]
# The face and the place of the eyes are kept from the language model.
SETTINGS = [
    *("task.withhold_branches=[HP:0000271, HP:0100886]", "inference.max_tokens=96"),
    *("task.answer_size=5", "preferences.chosen=5", "preferences.cut=5"),
]


class Writer(test_chat.Endpoint):
    """An engine that writes the lines of an answer, the first two at once and the others when it is let."""

    def __init__(self):
        self.asked: list[ChatCompletionRequest] = []
        self.let, self.fault = threading.Event(), ""

    async def chat(self, body: ChatCompletionRequest):
        self.asked.append(body)
        return StreamingResponse(self._written(), media_type="text/event-stream")

    async def _written(self):
        for number, line in enumerate(LINES):
            while number == 2 and not self.let.is_set():
                await asyncio.sleep(0.01)
            if number == 2 and self.fault:
                yield _event({"error": {"message": self.fault}})
                return
            for piece in (line[:5], line[5:] + "\n"):
                yield _event({"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
        yield _event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        yield "data: [DONE]\n\n"


def _event(body: dict) -> str:
    return f"data: {json.dumps(body)}\n\n"


@contextmanager
def serving(writer: Writer, token: str | None = None, task: str = "demo", **scorer) -> Iterator[str]:
    """The application's address; `scorer` says what its forward does, none at all: no scorer is beside."""
    (port,) = free_ports(1)
    ready, server = threading.Event(), list[uvicorn.Server]()

    async def serve() -> None:
        config = load_config(REPOSITORY / f"configs/{task}.yaml", ["run.dir=nowhere", *SETTINGS])
        labels = [disease_label(each) for each in IDS]
        beside = await _scorer(config.task, **scorer) if scorer else None
        about, metrics, limits = Questions(config, labels, beside), HttpMetrics(), ModelLimits()
        app = create_app(writer, Readiness({}), metrics)
        add_page(app, about, ["base", "aligned"], limits, secured=token is not None)
        door = guarded(app, limits, token, metrics, pages.routes(app), error_response)
        server.append(uvicorn.Server(uvicorn.Config(door, port=port, log_level="error", lifespan="off")))
        ready.set()
        await server[0].serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        writer.let.set()
        server[0].should_exit = True
        thread.join(20)


async def _scorer(task, digest: str = "00") -> AsyncScorerClient:
    engine = Engine(LocalScoring(ToyScorer(digest), threads=1), task, LimitsSection(), 2, Metrics())
    await engine.start()
    door = httpx.ASGITransport(scorer_app.create_app(engine, None))
    return AsyncScorerClient("http://localhost", transport=door, patience=PATIENCE)


@pytest.fixture(scope="module")
def window():
    with browser() as found:
        yield found


@pytest.fixture
def writer() -> Writer:
    return Writer()


def opened(window: Browser, url: str, size=WIDE) -> Browser:
    window.wait(lambda: httpx.get(url + "livez").status_code == 200)
    window.open(url, size)
    return window


def fill(window: Browser) -> None:
    """A patient by keyboard alone: two findings, one of them by a synonym, one excluded, a note."""
    window.tab_to("observed")
    window.keys("widely spaced ey")
    window.wait(lambda: window.run("document.querySelectorAll('#observed-list [role=option]').length"))
    window.keys("Down", "Enter", "Own words", "Enter")
    window.tab_to("excluded")
    window.keys("seizure")
    window.keys("Enter")  # before any completion is there
    window.wait(lambda: window.run("chosen.excluded[0].id") == "HP:0001250")
    window.tab_to("note")
    window.keys("She has short stature.")


def asked_about_a_note(window, url):
    """Open the page, write a note, and ask."""
    opened(window, url)
    window.tab_to("note")
    window.keys("She has short stature.")
    window.tab_to("go")
    window.keys("Enter")


def test_a_patient_is_asked_about_by_keyboard_and_the_answer_is_seen_as_it_is_written(window, writer):
    with serving(writer, digest="00") as url:
        opened(window, url)
        fill(window)
        window.tab_to("go")
        window.keys("Enter")
        window.wait(lambda: "Kabuki" in window.text("#names"))
        assert window.text("#status") == "Writing …"
        assert window.text("#text").strip() == "\n".join(LINES[:2])
        assert "Williams" not in window.text("#names")
        window.wait(lambda: "Disease" in window.text("#ranking"))  # the scorer's is there before the answer is whole
        writer.let.set()
        window.wait(lambda: window.text("#status") == "3 names, 2 with an id.")
        named = (
            "[...document.querySelectorAll('#names li')].map(e => [e.innerText, e.querySelector('a')?.href || null])"
        )
        assert window.run(named) == [
            ["Kabuki syndrome 1 OMIM:147920", "https://omim.org/entry/147920"],
            ["Williams-Beuren syndrome OMIM:194050", "https://omim.org/entry/194050"],
            ["Nobody syndrome no id: means none of the labels, or several", None],
        ]
        assert window.complaints() == []
    (asked,) = writer.asked
    assert (asked.model, asked.temperature, asked.max_tokens, asked.stream) == ("aligned", 0, 96, True)
    assert asked.messages[0]["content"].endswith(
        "Patient: female\nFindings: Own words; Short stature\nExcluded: Seizure\nNote: She has short stature."
    )


def test_what_the_model_is_not_shown_is_told_by_name(window, writer):
    writer.let.set()
    with serving(writer) as url:
        opened(window, url)
        fill(window)
        window.tab_to("go")
        window.keys("Enter")
        window.wait(lambda: window.text("#status").startswith("3 names"))
        assert window.text("#withheld") == "Hypertelorism HP:0000316"
        assert not window.run("Boolean(document.querySelector('#ranking, #file'))")  # neither is served here
        read = "[...document.querySelectorAll('#read li')].map(e => e.textContent)"
        assert window.run(read) == ["Short stature (HP:0004322), observed"]


def test_on_a_phone_nothing_is_wider_than_the_screen(window, writer):
    writer.let.set()
    with serving(writer, digest="00") as url:
        opened(window, url, PHONE)
        fill(window)
        assert window.run("document.documentElement.scrollWidth") == PHONE[0]
        window.tab_to("go")
        window.keys("Enter")
        window.wait(lambda: window.text("#status").startswith("3 names") and "Disease" in window.text("#ranking"))
        assert window.run("document.documentElement.scrollWidth") == PHONE[0]
        small = "[...document.querySelectorAll('input, button, select, textarea')].filter(e => e.offsetParent && e.offsetHeight < 24).map(e => e.id)"
        assert window.run(small) == []


def test_every_field_has_a_name_and_a_list_says_which_of_it_is_chosen(window, writer):
    with serving(writer, TOKEN, digest="00") as url:
        opened(window, url)
        nameless = "[...document.querySelectorAll('input:not([hidden]), select, textarea')].filter(e => !e.labels.length).map(e => e.id)"
        assert window.run(nameless) == []
        window.tab_to("token")
        window.keys(TOKEN)
        window.run("document.getElementById('observed').focus()")
        window.keys("HP:00012")
        window.wait(lambda: window.run("document.querySelectorAll('[role=option]').length") == 10)
        chosen = "document.querySelector('[aria-selected=true]')?.id === document.activeElement.getAttribute('aria-activedescendant')"
        assert window.run("document.activeElement.getAttribute('aria-activedescendant')") is None
        window.keys("Down", "Down")
        assert (
            window.run(chosen)
            and window.run("document.activeElement.getAttribute('aria-activedescendant')") == "observed-1"
        )
        window.keys("Escape")
        assert window.run("document.activeElement.getAttribute('aria-expanded')") == "false"


def test_a_finding_that_is_chosen_can_be_taken_back(window, writer):
    with serving(writer) as url:
        opened(window, url)
        window.tab_to("observed")
        window.keys("Own words", "Enter", "More words", "Enter")
        assert window.run("chosen.observed.map(e => e.name)") == ["Own words", "More words"]
        window.keys("Backspace")
        window.tab_to("Remove Own words")
        window.keys("Enter")
        assert window.run("chosen.observed.length") == 0 and window.focused() == "observed"


def test_without_the_token_the_page_says_so_and_with_it_answers(window, writer):
    writer.let.set()
    with serving(writer, TOKEN) as url:
        asked_about_a_note(window, url)
        window.wait(lambda: "A bearer token is needed" in window.text("#problem"))
        assert not writer.asked
        window.run("document.getElementById('token').focus()")
        window.keys(TOKEN, "Enter")
        window.wait(lambda: window.text("#status").startswith("3 names"))
        assert not window.run("document.getElementById('problem').offsetHeight")


def test_an_answer_can_be_stopped(window, writer):
    with serving(writer) as url:
        asked_about_a_note(window, url)
        window.wait(lambda: "Kabuki" in window.text("#names"))
        window.tab_to("stop")
        window.keys("Enter")
        window.wait(lambda: window.text("#status") == "Stopped.")
        assert "Kabuki" in window.text("#names") and window.focused() == "go"


@pytest.mark.parametrize("said", ["an engine died and is being replaced: ask again"])
def test_an_engine_that_fails_midway_is_told_and_what_was_written_stays(window, writer, said):
    writer.fault = said
    writer.let.set()
    with serving(writer) as url:
        asked_about_a_note(window, url)
        window.wait(lambda: said in window.text("#problem"))
        assert "Kabuki" in window.text("#text")


def test_nothing_typed_is_told_what_to_give(window, writer):
    with serving(writer) as url:
        opened(window, url)
        window.tab_to("go")
        window.keys("Enter")
        window.wait(lambda: "give something of phenotypes, text, sex, age_years" in window.text("#problem"))
        assert not writer.asked
