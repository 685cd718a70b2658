"""A real browser for tests, by the W3C's WebDriver protocol: Chromium and its driver, as the system's packages have them.

apt-get install chromium chromium-driver
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from mint_ray.service.ports import free_ports

T = TypeVar("T")
KEYS = {
    "Enter": "\ue007",
    "Tab": "\ue004",
    "Escape": "\ue00c",
    "Down": "\ue015",
    "Up": "\ue013",
    "Backspace": "\ue003",
    "Shift": "\ue008",
}
PATIENCE = 20.0
PHONE = (360, 740)
WIDE = (1280, 900)


class Browser:
    """One window. `run` evaluates JavaScript in its page, `keys` types what a person would."""

    def __init__(self, session: httpx.Client):
        self._session = session

    def open(self, url: str, size: tuple[int, int] = WIDE) -> None:
        """A page in a window of this many CSS pixels."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self._post("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What an expression is worth in the page."""
        return self._post("/execute/sync", {"script": f"return ({script})", "args": list(arguments)})

    def text(self, selector: str) -> str:
        """The text that is shown of an element."""
        return self.run("document.querySelector(arguments[0]).innerText", selector)

    def keys(self, *pressed: str) -> None:
        """Press keys one after the other, wherever the focus is: a name of `KEYS`, or text."""
        actions = []
        for each in pressed:
            held, _, name = each.rpartition("+")
            letters = KEYS.get(name, name)
            ups = [{"type": "keyUp", "value": KEYS[held]}] if held else []
            actions += [{"type": "keyDown", "value": KEYS[held]}] if held else []
            for letter in letters:
                actions += [{"type": "keyDown", "value": letter}, {"type": "keyUp", "value": letter}]
            actions += ups
        self._post("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def focused(self) -> str:
        """What has the focus: its id, else its label or text."""
        return self.run("(e => e.id || e.getAttribute('aria-label') || e.innerText)(document.activeElement)")

    def tab_to(self, wanted: str) -> None:
        """Go on by Tab until an element has the focus, as somebody without a mouse does."""
        for _ in range(40):
            if self.focused() == wanted:
                return
            self.keys("Tab")
        raise AssertionError(f"no Tab leads to {wanted}")

    def wait(self, seen: Callable[[], T]) -> T:
        """What a look at the page gives, once it is true."""
        until = time.monotonic() + PATIENCE
        while not (found := seen()):
            assert time.monotonic() < until, f"not seen; the page says:\n{self.text('body')}"
            time.sleep(0.02)
        return found

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = {"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": True}}
        path.write_bytes(base64.b64decode(self._post("/goog/cdp/execute", shot)["data"]))

    def complaints(self) -> list[str]:
        """What the browser's console has to say: errors of scripts, what the page's policy refused to load."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._session.post(path, json=body).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser of one's own, with nothing in it; the test is skipped where none is installed."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if not (driver and chromium):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    (port,) = free_ports(1)
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            session = _session(client, chromium)
            client.base_url = httpx.URL(f"http://127.0.0.1:{port}/session/{session}")
            yield Browser(client)
            client.delete("")
    finally:
        process.terminate()
        process.wait(20)


def _session(client: httpx.Client, chromium: str) -> str:
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]
    options = {"binary": chromium, "args": flags}
    asked = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    until = time.monotonic() + PATIENCE
    while True:
        try:
            answer = client.post("/session", json={"capabilities": {"alwaysMatch": asked}}).json()["value"]
            assert "sessionId" in answer, answer
            return answer["sessionId"]
        except httpx.ConnectError:
            assert time.monotonic() < until, "the browser's driver does not listen"
            time.sleep(0.05)
