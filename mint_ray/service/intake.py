"""A case from outside to what the scorer sees of it, with every bound checked on the way.

Bodies are read by `StrictRequest`: JSON with bounds on depth and on what it costs once parsed, forms that
never spill to a disk. Images are looked at by their header before anything is decoded. No address in a
case is ever followed: an image is its bytes.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from fastapi.params import Form
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from mint_ray.corpora.images import FILE_FORMATS
from mint_ray.errors import RowError
from mint_ray.records import Case
from mint_ray.service.api import CaseIn
from mint_ray.service.problems import FieldError, Problem, from_validation, validation_errors
from mint_ray.service.settings import HttpLimits, LimitsSection
from mint_ray.tasks.base import Task, View

# reasons of mint_ray.corpora.images to problem codes
_CODES = {
    "image-too-large": "image-too-large",
    "not-an-image": "not-an-image",
    "several-images": "animated-image",
    "not-scorable": "scoring-failed",
}
_SIGNS_OF_STRUCTURE = (b"{", b"[", b",")


class StrictRequest(Request):
    """A request whose JSON and forms are bounded. `limits` stands in the scope's state."""

    @property
    def limits(self) -> LimitsSection:
        return self.scope["state"]["limits"]

    async def json(self) -> Any:
        return parse_json(await self.body(), self.limits)

    async def _get_form(self, **_: Any) -> FormData:
        if self._form is None:
            self._form = await self._parse_form()
        return self._form

    async def _parse_form(self) -> FormData:
        if self.headers.get("content-type", "").split(";")[0].strip().lower() != "multipart/form-data":
            raise Problem("unsupported-media-type", "send multipart/form-data")
        try:
            async with aclosing(self.stream()) as stream:
                parser = MultiPartParser(
                    self.headers, stream, max_files=2, max_fields=20, max_part_size=4 * self.limits.text_chars
                )
                parser.spool_max_size = self.limits.body_bytes  # an image stays in memory
                return await parser.parse()
        except MultiPartException as error:
            raise Problem("malformed-body", error.message) from None
        except UnicodeDecodeError:
            raise Problem("malformed-body", "a part is not in the character set that it names") from None


class StrictRoute(APIRoute):
    """Routes whose bodies are read by `StrictRequest`, or by another of its kind."""

    reads: type[StrictRequest] = StrictRequest

    def get_route_handler(self) -> Callable:
        handle = super().get_route_handler()
        takes_json = self.body_field is not None and not isinstance(self.body_field.field_info, Form)

        async def handle_strictly(request: Request) -> Response:
            if takes_json and _media_type(request) != "application/json":
                raise Problem("unsupported-media-type", "send application/json")
            return await handle(self.reads(request.scope, request.receive))

        return handle_strictly


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse_json(body: bytes, limits: HttpLimits) -> Any:
    """JSON as RFC 8259 has it (no NaN, no Infinity), within bounds.

    Raises:
        Problem: `malformed-body` or `body-too-large`.
    """
    if sum(body.count(sign) for sign in _SIGNS_OF_STRUCTURE) > limits.json_items:
        raise Problem("body-too-large", f"the JSON has more than {limits.json_items} items")
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise Problem("malformed-body", f"the JSON is nested deeper than {limits.json_depth}") from None
    except UnicodeDecodeError:
        raise Problem("malformed-body", "the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Problem("malformed-body", f"no JSON: {error.msg} at character {error.pos}") from None
    except ValueError:
        raise Problem(
            "malformed-body", "the JSON holds a number that JSON does not have, or one that is too long"
        ) from None
    if _depth_exceeds(value, limits.json_depth):
        raise Problem("malformed-body", f"the JSON is nested deeper than {limits.json_depth}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> Any:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def read_case(raw: Any, limits: HttpLimits) -> CaseIn:
    """A case of a request, once it keeps its rules.

    Raises:
        Problem: `invalid-case`, `text-too-long` or `empty-case`, with the field.
    """
    try:
        case = CaseIn.model_validate(raw)
    except ValidationError as error:
        raise from_validation("invalid-case", validation_errors(error)) from None
    if case.text is not None and len(case.text) > limits.text_chars:
        raise Problem(
            "text-too-long",
            f"{len(case.text)} characters; at most {limits.text_chars}",
            [FieldError(field="text", rule="too long")],
        )
    if len(case.phenotypes) > limits.phenotypes:
        raise Problem(
            "invalid-case", "too many findings", [FieldError(field="phenotypes", rule=f"at most {limits.phenotypes}")]
        )
    return case


def case_id(raw: Any) -> str | None:
    """The id of a case that may be broken elsewhere."""
    found = raw.get("id", "") if isinstance(raw, dict) else None
    try:
        return CaseIn.model_validate({"id": found}).id
    except ValidationError:
        return None


def decode_image(image: str | None, limits: HttpLimits) -> bytes | None:
    """The bytes behind base64.

    Raises:
        Problem: `invalid-case` or `image-too-large`.
    """
    if image is None:
        return None
    if len(image) > 4 * (limits.image_bytes // 3 + 1):
        raise _image_problem("image-too-large", f"more than {limits.image_bytes} bytes")
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise _image_problem("invalid-case", "no base64") from None


def check_header(data: bytes, limits: HttpLimits) -> None:
    """Refuse by the header alone: other formats, too many bytes or pixels. What is behind it, the decoder sees.

    Raises:
        Problem: naming the image's fault.
    """
    from PIL import Image, UnidentifiedImageError

    if len(data) > limits.image_bytes:
        raise _image_problem("image-too-large", f"more than {limits.image_bytes} bytes")
    try:
        width, height = Image.open(io.BytesIO(data), formats=FILE_FORMATS).size
    except Image.DecompressionBombError:
        raise _image_problem("image-too-large", f"more than {limits.image_pixels} pixels") from None
    except UnidentifiedImageError:
        raise _image_problem("not-an-image", f"expected {' or '.join(FILE_FORMATS)}") from None
    except Exception as error:  # Pillow's parsers raise many kinds
        raise _image_problem("broken-image", f"its header cannot be read ({type(error).__name__})") from None
    if width * height > limits.image_pixels:
        raise _image_problem("image-too-large", f"{width} x {height}; at most {limits.image_pixels} pixels")


def from_row_error(error: RowError) -> Problem:
    """What the scorer refused, as a problem."""
    rule = f"{error.reason}: saw {error.seen}; expected {error.expected}" if error.expected else error.reason
    return Problem(_CODES.get(error.reason, "broken-image"), rule, [FieldError(field=error.field, rule=rule)])


def _image_problem(code: str, rule: str) -> Problem:
    return Problem(code, rule, [FieldError(field="image", rule=rule)])


def scorer_view(case: Case, task: Task) -> View:
    """What the scorer sees.

    Raises:
        Problem: `empty-case`.
    """
    view = task.scorer_view(case)
    if not view.text and view.image is None:
        readable = [name for name in ("text", "phenotypes", "image") if task.reads(name)]
        raise Problem("empty-case", f"send something of {', '.join(readable)}")
    return view
