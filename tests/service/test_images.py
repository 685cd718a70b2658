"""The zoo of images against the running service."""

import base64
import io
import math

import pytest
from PIL import Image

from tests.service.pictures import BAD, GOOD, encoded, picture


def ask(http, data: bytes) -> dict:
    answer = http.post("/v1/rank", json={"cases": [{"id": "a", "image": base64.b64encode(data).decode()}], "top_k": 6})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"][0]


def scores(result: dict) -> dict[str, float]:
    return {label["id"]: label["score"] for label in result["top"]}


@pytest.mark.parametrize("name", GOOD)
def test_a_picture_of_an_ordinary_kind_is_ranked(http, name):
    found = scores(ask(http, GOOD[name]))
    assert sum(math.exp(score) for score in found.values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_a_problem_of_its_case_and_of_an_upload(http, name):
    data, code = BAD[name]
    result = ask(http, data)
    assert result["outcome"] == "problem"
    assert (result["problem"]["code"], result["problem"]["errors"][0]["field"]) == (code, "image")
    upload = http.post("/v1/rank/upload", files={"image": ("x.png", data)})
    assert upload.status_code == result["problem"]["status"]
    assert upload.headers["content-type"] == "application/problem+json"
    assert upload.json()["code"] == code


def test_a_turned_photograph_is_scored_as_it_is_seen(http):
    upright = encoded(Image.open(io.BytesIO(GOOD["turned"])).rotate(-90, expand=True))
    assert scores(ask(http, GOOD["turned"])) == pytest.approx(scores(ask(http, upright)), abs=1e-4)
    assert scores(ask(http, GOOD["turned"])) != pytest.approx(scores(ask(http, encoded(picture()))), abs=1e-4)


def test_no_address_in_a_case_is_followed(http):
    for image in ("http://127.0.0.1:1/face.png", "file:///etc/passwd", "data:image/png;base64,AAAA"):
        answer = http.post("/v1/rank", json={"cases": [{"image": image}]}).json()
        assert answer["results"][0]["problem"]["errors"] == [{"field": "image", "rule": "no base64"}]


def test_a_bad_picture_costs_the_others_of_its_request_nothing(http):
    images = [GOOD["png"], BAD["bomb"][0], GOOD["jpeg"]]
    cases = [{"id": str(i), "image": base64.b64encode(data).decode()} for i, data in enumerate(images)]
    results = http.post("/v1/rank", json={"cases": cases}).json()["results"]
    assert [(r["id"], r["outcome"]) for r in results] == [("0", "ranking"), ("1", "problem"), ("2", "ranking")]
