"""What a model sees of a case as a request of OpenAI's chat API: what batch inference sends, and `mint_ray.ask` prints."""

from __future__ import annotations

import base64
from typing import Any

from mint_ray.records import Message
from mint_ray.tasks.base import Task, View


def chat_request(task: Task, view: View, model: str, **settings: Any) -> dict[str, Any]:
    """The body of a chat completion: the task's own prompt for what is seen, and `settings` (`max_tokens` ...).

    Without settings the service answers as evaluation measured: greedily.
    """
    return {"model": model, "messages": chat_messages(task.prompt(view), view.image), **settings}


def chat_messages(prompt: list[Message], image: bytes | None) -> list[dict[str, Any]]:
    """The messages; an image stands before the first user message's text, as in alignment."""
    messages = [message.model_dump() for message in prompt]
    if image is not None:
        first = next(message for message in messages if message["role"] == "user")
        picture = {"type": "image_url", "image_url": {"url": data_uri(image)}}
        first["content"] = [picture, {"type": "text", "text": first["content"]}]
    return messages


def data_uri(image: bytes) -> str:
    """A PNG or JPEG as a `data:` address."""
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
