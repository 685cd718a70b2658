"""The door before the engines: images are data that can be decoded, and nothing is fetched."""

import asyncio
import base64
import io

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from mint_ray.corpora.images import FILE_FORMATS, open_image
from mint_ray.inference.asking import data_uri
from mint_ray.service.guards import guarded
from mint_ray.service.intake import StrictRoute
from mint_ray.service.metrics import HttpMetrics
from mint_ray.service.openai_errors import error_response
from mint_ray.service.parts import ChatRequest
from mint_ray.service.settings import ModelLimits
from tests.corpora.pictures import jpeg, png_header
from tests.service.pictures import GOOD


class ChatRoute(StrictRoute):
    reads = ChatRequest


def answer(part: object, **limits: int) -> httpx.Response:
    """What a chat with this part is answered, where the engine would say what it was shown."""
    app = FastAPI()
    app.router.route_class = ChatRoute

    @app.post("/chat")
    async def chat(body: dict) -> dict:
        return body["messages"][0]["content"][1]

    door = guarded(app, ModelLimits(**limits), None, HttpMetrics(), [], error_response)
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]}

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://localhost") as client:
            return await client.post("/chat", json=body)

    return asyncio.run(ask())


def image(url: object) -> dict:
    return {"type": "image_url", "image_url": {"url": url}}


def seen(part: dict) -> Image.Image:
    """What an engine decodes of an answer's part, which knows nothing of ours."""
    return Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))


def test_a_picture_as_data_passes_as_it_came():
    assert answer(image(data_uri(jpeg()))).json() == image(data_uri(jpeg()))


@pytest.mark.parametrize("name", GOOD)
def test_an_engine_sees_what_everyone_here_sees(name):
    uri = f"data:image/png;base64,{base64.b64encode(GOOD[name]).decode()}"
    shown = seen(answer(image(uri)).json())
    assert shown.mode in ("L", "RGB")
    np.testing.assert_array_equal(
        np.asarray(shown.convert("RGB")), np.asarray(open_image(GOOD[name], "", FILE_FORMATS))
    )


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (image("http://127.0.0.1:8265/api/version"), 422),
        (image("file:///etc/hostname"), 422),
        (image("DATA:text/plain,x"), 422),
        (image(None), 422),
        ({"type": "image_url", "image_url": "http://127.0.0.1/a.png"}, 422),
        ({"image_url": {"url": "http://127.0.0.1/a.png"}}, 422),
        ({"type": "video_url", "video_url": {"url": "http://127.0.0.1/a.mp4"}}, 422),
        ("a bare string", 422),
        (image("data:image/png;base64,AAAA"), 415),
        (image("data:image/png;base64,!"), 422),
        (image(data_uri(png_header(60_000, 60_000))), 413),
        (image(data_uri(jpeg()[:-400])), 422),
    ],
)
def test_whatever_would_be_fetched_opened_or_fail_to_decode_is_refused(part, status):
    refused = answer(part)
    assert refused.status_code == status
    assert "127.0.0.1" not in refused.text
