"""The parts of a chat's messages, checked at the door: text, and images that are data and can be decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from mint_ray.corpora.images import check_image
from mint_ray.errors import RowError
from mint_ray.inference.asking import data_uri
from mint_ray.service import intake
from mint_ray.service.intake import StrictRequest
from mint_ray.service.problems import FieldError, Problem
from mint_ray.service.settings import HttpLimits


class ChatRequest(StrictRequest):
    """A chat whose parts are in order: text, and images as every decoder sees them."""

    async def json(self) -> Any:
        """Refuses what an engine would fetch from an address, open as a file, or fail to decode.

        Raises:
            Problem: `invalid-request`, or what is wrong with the image.
        """
        body = await super().json()
        for part in content_parts(body):
            if (image := image_of(part, self.limits)) is not None:
                part["image_url"]["url"] = data_uri(await asyncio.to_thread(plain, image, self.limits))
        return body


def content_parts(body: Any) -> Iterator[Any]:
    """What stands in the lists of the messages' contents."""
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        yield from content if isinstance(content, list) else ()


def image_of(part: Any, limits: HttpLimits) -> bytes | None:
    """The bytes of an image, or None for a text."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return None
    if kind != "image_url":
        raise _bad_part("a part is of type text or image_url")
    url = part["image_url"].get("url") if isinstance(part.get("image_url"), dict) else None
    head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise _bad_part("an image is data:image/png;base64,... (or jpeg, tiff, webp, bmp); no address is fetched")
    return intake.decode_image(data, limits)


def plain(image: bytes, limits: HttpLimits) -> bytes:
    """The picture in a form that engines decode as everyone here does: not 16 bits, nothing transparent."""
    intake.check_header(image, limits)
    try:
        return check_image(image)
    except RowError as error:
        raise intake.from_row_error(error) from None


def _bad_part(rule: str) -> Problem:
    return Problem("invalid-request", "a part of a message", [FieldError(field="messages.content", rule=rule)])
