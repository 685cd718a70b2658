"""Requests that nobody should send, by a grammar and a seed; each carries a canary where a patient's words would stand."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

CANARY = "canary-Mustermann"
ODD = [
    None,
    True,
    0,
    -1,
    2**63,
    1e308,
    "",
    " ",
    "\x00",
    "\ud800",
    "a" * 3000,
    "$x^$",
    "{{7*7}}",
    [],
    {},
    [[]],
    {"a": {}},
]
HEADERS = {
    "accept": ["*/*", "image/png", "x" * 2000],
    "content-encoding": ["gzip", "identity", "br"],
    "content-type": ["application/json", "application/json; charset=utf-16", "text/plain", "", "multipart/form-data"],
    "expect": ["100-continue", "nothing"],
    "x-request-timeout-seconds": ["0", "-1", "nan", "1e9", CANARY],
    "x-request-id": [CANARY, "a" * 500],
    "serve_multiplexed_model_id": [CANARY],
    "x-http-method-override": ["DELETE"],
    "range": ["bytes=0-"],
}


class Asked(NamedTuple):
    """A request, without the service's address."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def scorer_requests(seed: int) -> Iterator[Asked]:
    """For the scorer's service, without end."""
    chance = random.Random(seed)
    makers = [_case_mutated, _json_mutated, _json_mutated, _bytes_mutated, _form, _elsewhere]
    while True:
        yield _with_odd_headers(chance, chance.choice(makers)(chance))


def model_requests(seed: int, model: str) -> Iterator[Asked]:
    """For the models' service, without end. What is valid asks for four tokens."""
    chance = random.Random(seed)
    while True:
        whole = _chat(chance, model) if chance.random() < 0.8 else _completion(model)
        path = "/v1/chat/completions" if "messages" in whole else "/v1/completions"
        made = chance.choice([_mutated_value, _mutated_value, _mutated_bytes, _odd_setting])(chance, whole)
        asked = Asked("POST", path, {"content-type": "application/json"}, made)
        yield _with_odd_headers(chance, asked if chance.random() < 0.9 else _elsewhere(chance))


def _case(chance: random.Random) -> dict[str, Any]:
    case = {
        "id": f"{CANARY}-{chance.randrange(10**6)}",
        "text": f"{CANARY} has short stature",
        "phenotypes": [{"id": "HP:0001249", "name": f"{CANARY} finding", "excluded": chance.random() < 0.3}],
        "sex": chance.choice(["female", "male", "other"]),
        "age_years": chance.random() * 90,
        "ethnicity": CANARY,
        "image": base64.b64encode(_picture(chance)).decode(),
    }
    return {name: value for name, value in case.items() if chance.random() < 0.7}


def _picture(chance: random.Random) -> bytes:
    """A small picture of any accepted format; one in three is damaged."""
    side = chance.choice([1, 15, 16, 40, 64])
    pixels = np.random.default_rng(chance.randrange(2**32)).integers(0, 256, (side, side, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(chance.choice(["RGB", "L", "P", "1"]))
    buffer = io.BytesIO()
    image.save(buffer, chance.choice(["PNG", "TIFF", "BMP"]))
    return _damaged(chance, buffer.getvalue()) if chance.random() < 0.33 else buffer.getvalue()


def _damaged(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 20)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randrange(1, len(changed) + 1)])


def _rank(chance: random.Random) -> dict[str, Any]:
    return {"cases": [_case(chance) for _ in range(chance.randrange(1, 4))], "top_k": 3, "bottom_q": 1}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "replace")


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


def _mutated_value(chance: random.Random, whole: dict[str, Any]) -> bytes:
    """One value, or one key, is another."""
    holder, key = chance.choice(_places(whole))
    if chance.random() < 0.2 and isinstance(holder, dict):
        holder[CANARY] = holder.pop(key)
    else:
        holder[key] = chance.choice(ODD)
    return _json(whole)


def _mutated_bytes(chance: random.Random, whole: dict[str, Any]) -> bytes:
    return _damaged(chance, _json(whole))


def _ranked(body: bytes) -> Asked:
    return Asked("POST", "/v1/rank", {"content-type": "application/json"}, body)


def _case_mutated(chance: random.Random) -> Asked:
    return _ranked(_json(_rank(chance)))


def _json_mutated(chance: random.Random) -> Asked:
    return _ranked(_mutated_value(chance, _rank(chance)))


def _bytes_mutated(chance: random.Random) -> Asked:
    return _ranked(_mutated_bytes(chance, _rank(chance)))


def _form(chance: random.Random) -> Asked:
    """A form of some right and some odd fields; one in five is damaged."""
    fields = {"text": CANARY, "sex": "female", "age_years": "3.5", "ethnicity": CANARY, "top_k": "3", CANARY: "x"}
    fields = {name: chance.choice([value, str(chance.choice(ODD))]) for name, value in fields.items()}
    parts = [_part(name, value.encode("utf-8", "replace")) for name, value in fields.items() if chance.random() < 0.5]
    if chance.random() < 0.7:
        parts.append(_part('image"; filename="face.png', _picture(chance)))
    body = b"".join(parts) + b"--edge--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=edge"}
    return Asked("POST", "/v1/rank/upload", headers, _damaged(chance, body) if chance.random() < 0.2 else body)


def _part(name: str, value: bytes) -> bytes:
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"


def _elsewhere(chance: random.Random) -> Asked:
    paths = [
        "/",
        "/docs",
        "/livez/",
        "/v1",
        "/v1/labels",
        "/v1/models",
        "/metrics",
        f"/{CANARY}",
        "/%00",
        "/..%2f..%2f",
        "//",
    ]
    method = chance.choice(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "POST", "TRACE"])
    return Asked(method, f"{chance.choice(paths)}?q={CANARY}", {}, chance.choice([b"", CANARY.encode()]))


def _chat(chance: random.Random, model: str) -> dict[str, Any]:
    content: Any = f"{CANARY}: name a fruit"
    if chance.random() < 0.3:
        content = [{"type": "text", "text": content}]
    messages = [{"role": chance.choice(["user", "system", CANARY]), "content": content}]
    return {"model": model, "messages": messages, "max_tokens": 4, "temperature": 0.0, "user": CANARY}


def _completion(model: str) -> dict[str, Any]:
    return {"model": model, "prompt": f"{CANARY}: name a fruit", "max_tokens": 4}


def _odd_setting(chance: random.Random, whole: dict[str, Any]) -> bytes:
    """A setting of sampling that few use, or that there is not."""
    settings = {
        "n": [0, 2, -1, 10**6],
        "seed": [-1, 2**64],
        "stop": ["", [""], [CANARY] * 50],
        "logprobs": [True, 5, 10**6],
        "top_logprobs": [5, 10**6],
        "logit_bias": [{"0": 100}, {CANARY: 1}, {"99999999": 1}],
        "response_format": [{"type": "json_object"}, {"type": CANARY}],
        "tools": [[{"type": "function", "function": {"name": CANARY}}], CANARY],
        "stream": [True, "yes"],
        "top_p": [0, 2],
        "prompt_logprobs": [5, -2],
        "guided_regex": ["(a+)+$"],
        "chat_template": ["{{ 7*7 }}"],
        "max_tokens": [0, -1, 2**40],
    }
    name = chance.choice(list(settings))
    return _json(whole | {name: chance.choice(settings[name])})


def _with_odd_headers(chance: random.Random, asked: Asked) -> Asked:
    if chance.random() > 0.15:
        return asked
    name = chance.choice(list(HEADERS))
    return asked._replace(headers=asked.headers | {name: chance.choice(HEADERS[name])})
