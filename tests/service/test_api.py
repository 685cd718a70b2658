"""What the running service answers to ordinary and to malformed requests."""

import base64
import json
import math
import socket
import subprocess

import httpx
import pytest

from mint_ray.service.api import EXAMPLE_IMAGE
from mint_ray.service.problems import CODES


def problem(answer) -> tuple[int, str, list[str]]:
    """Status, code and fields, of an answer that must be a problem in full."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code == CODES[body["code"]][0]
    assert body["type"] == f"urn:mint-ray:problem:{body['code']}"
    return answer.status_code, body["code"], [error["field"] for error in body["errors"]]


def rank(http, content: str | bytes, kind: str = "application/json"):
    return http.post("/v1/rank", content=content, headers={"content-type": kind})


def of_one_case(http, case) -> tuple[str, list[str]]:
    """Code and fields of the problem that a case has in a request that is otherwise in order."""
    answer = rank(http, json.dumps({"cases": [case, {"id": "good", "text": "Seizure"}]}))
    assert answer.status_code == 200, answer.text
    bad, good = answer.json()["results"]
    assert (good["id"], good["outcome"]) == ("good", "ranking")
    return bad["problem"]["code"], [error["field"] for error in bad["problem"]["errors"]]


def test_a_ranking_has_the_head_and_the_tail_that_were_asked_for(http):
    answer = http.post("/v1/rank", json={"cases": [{"id": "a", "text": "Seizure"}], "top_k": 4, "bottom_q": 2}).json()
    result = answer["results"][0]
    scores = [label["score"] for label in result["top"] + result["bottom"]]
    assert scores == sorted(scores, reverse=True)
    assert [label["rank"] for label in result["top"] + result["bottom"]] == [1, 2, 3, 4, 5, 6]
    assert sum(map(math.exp, scores)) == pytest.approx(1, abs=1e-4)
    card = http.get("/v1/scorer").json()
    assert answer["scorer"] == {"name": card["name"], "digest": card["digest"]}
    known = {label["id"]: label["name"] for label in http.get("/v1/labels").json()["labels"]}
    assert {label["id"]: label["name"] for label in result["top"] + result["bottom"]} == known
    assert card["labels"] == len(known)


def test_a_case_by_form_is_ranked_as_the_same_case_by_json(http):
    image = base64.b64decode(EXAMPLE_IMAGE)
    form = {"text": "Short stature", "sex": "female", "age_years": "3.5", "top_k": "6"}
    upload = http.post("/v1/rank/upload", files={"image": ("face.png", image)}, data=form)
    case = {"text": "Short stature", "sex": "female", "age_years": 3.5, "image": EXAMPLE_IMAGE}
    by_json = http.post("/v1/rank", json={"cases": [case], "top_k": 6}).json()
    scores = [label["score"] for label in upload.json()["result"]["top"]]
    assert scores == pytest.approx([label["score"] for label in by_json["results"][0]["top"]], abs=1e-4)


def test_curl_sends_a_file_and_a_text(service, tmp_path):
    (tmp_path / "face.png").write_bytes(base64.b64decode(EXAMPLE_IMAGE))
    command = ["curl", "-s", "-F", "image=@face.png", "-F", "text=Short stature", f"{service.url}/v1/rank/upload"]
    answer = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert answer["result"]["top"][0]["rank"] == 1


def test_the_examples_of_the_description_work(http):
    description = http.get("/openapi.json").json()
    for example in description["components"]["schemas"]["RankRequest"]["examples"]:
        answer = http.post("/v1/rank", json=example)
        assert [result["outcome"] for result in answer.json()["results"]] == ["ranking"] * len(example["cases"])
    assert json.dumps(example["cases"][0]["phenotypes"][0]["name"])[1:-1] in http.get("/docs").text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", (422, "invalid-request", ["body"])),
        ("{", (400, "malformed-body", [])),
        (b'{"cases": ["\xff\xfe"]}', (400, "malformed-body", [])),
        ('{"cases": [{"age_years": NaN, "text": "x"}]}', (400, "malformed-body", [])),
        ('{"cases": [{"age_years": ' + "9" * 5000 + "}]}", (400, "malformed-body", [])),
        ("[" * 100_000, (400, "malformed-body", [])),
        ('{"cases": [' + "[" * 20 + "]" * 20 + "]}", (400, "malformed-body", [])),
        ("[" + "[]," * 300_000 + "[]]", (413, "body-too-large", [])),
        ("[]", (422, "invalid-request", ["body"])),
        ("{}", (422, "invalid-request", ["cases"])),
        ('{"cases": []}', (422, "invalid-request", ["cases"])),
        ('{"cases": [{"text": "x"}], "top_k": 0}', (422, "invalid-request", ["top_k"])),
        ('{"cases": [{"text": "x"}], "top_k": "3"}', (422, "invalid-request", ["top_k"])),
        ('{"cases": [{"text": "x"}], "John Smith": 1}', (422, "invalid-request", ["(a field that is not known here)"])),
        ('{"cases": [' + ",".join(['{"text": "x"}'] * 9) + "]}", (413, "too-many-cases", [])),
    ],
)
def test_a_malformed_request_is_a_problem_with_its_field(http, content, expected):
    answer = rank(http, content)
    assert problem(answer) == expected
    assert "John" not in answer.text


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, ("empty-case", [])),
        ({"text": ""}, ("empty-case", [])),
        (5, ("invalid-case", ["body"])),
        (None, ("invalid-case", ["body"])),
        ({"text": "a\x00b"}, ("invalid-case", ["text"])),
        ({"text": "a\ud800b"}, ("invalid-case", ["text"])),
        ({"id": "\udfff", "text": "x"}, ("invalid-case", ["id"])),
        ({"phenotypes": [{"name": "a\x00"}]}, ("invalid-case", ["phenotypes.0.name"])),
        ({"text": "x" * 20_001}, ("text-too-long", ["text"])),
        ({"text": "x", "sex": "unheard"}, ("invalid-case", ["sex"])),
        ({"text": "x", "age_years": 1e999}, ("malformed", [])),
        ({"text": "x", "age_years": -1}, ("invalid-case", ["age_years"])),
        ({"image": "%%%"}, ("invalid-case", ["image"])),
        ({"image": "é"}, ("invalid-case", ["image"])),
        ({"text": "x", "John Smith": 1}, ("invalid-case", ["(a field that is not known here)"])),
        ({"phenotypes": [{"name": "x"}] * 201}, ("invalid-case", ["phenotypes"])),
    ],
)
def test_a_case_that_breaks_a_rule_names_its_field_and_costs_no_other(http, case, expected):
    if expected[0] == "malformed":
        assert problem(rank(http, '{"cases": [{"text": "x", "age_years": Infinity}]}')) == (400, "malformed-body", [])
        expected, case = ("invalid-case", ["age_years"]), json.loads('{"text": "x", "age_years": 1e400}')
        answer = rank(http, '{"cases": [{"text": "x", "age_years": 1e400}]}').json()["results"][0]["problem"]
        assert (answer["code"], [e["field"] for e in answer["errors"]]) == expected
        return
    assert of_one_case(http, case) == expected


def test_a_text_of_ten_million_characters_is_refused_by_length_and_a_larger_body_by_size(http):
    assert of_one_case(http, {"text": "x" * 10_000_000}) == ("text-too-long", ["text"])
    assert problem(rank(http, json.dumps({"cases": [{"text": "x" * 13_000_000}]})))[:2] == (413, "body-too-large")


def test_a_body_that_hides_its_length_is_cut_off_at_the_bound(http):
    sent = 0

    def endless():
        nonlocal sent
        for _ in range(64):
            sent += 2**20
            yield b" " * 2**20

    try:
        answer = http.post("/v1/rank", content=endless(), headers={"content-type": "application/json"})
        assert problem(answer)[:2] == (413, "body-too-large")
    except (ConnectionError, OSError) as error:  # the server may close while we still send
        assert "reset" in str(error) or "Broken pipe" in str(error)
    except httpx.TransportError as error:  # or may read no more, and keep the connection until we give up
        assert isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError | httpx.WriteTimeout)
    assert sent < 40 * 2**20


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "not-found")),
        ("GET", "/v1/rank", (405, "method-not-allowed")),
        ("DELETE", "/v1/labels", (405, "method-not-allowed")),
        ("TRACE", "/v1/scorer", (405, "method-not-allowed")),
        ("GET", "/../../etc/passwd", (404, "not-found")),
    ],
)
def test_the_servers_own_errors_are_problems_too(http, method, path, expected):
    answer = http.request(method, path)
    assert problem(answer)[:2] == expected
    if expected[0] == 405:
        assert answer.headers["allow"]


def test_a_body_of_another_kind_is_unsupported(http):
    body = '{"cases": [{"text": "x"}]}'
    assert problem(rank(http, body, "text/plain"))[:2] == (415, "unsupported-media-type")
    assert problem(http.post("/v1/rank/upload", json={"text": "x"}))[:2] == (415, "unsupported-media-type")
    form = {"content-type": "multipart/form-data"}
    assert problem(http.post("/v1/rank/upload", content="x", headers=form))[:2] == (400, "malformed-body")


def converse(service, data: bytes, half_close: bool = False) -> bytes:
    """The problem that the service says on a connection where `data` is all that we say; empty if it says none."""
    with socket.create_connection(service.address, timeout=20) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        said = b""
        while not said.endswith(b"]}") and (part := connection.recv(65536)):
            said += part
        return said


HEAD = b"POST /v1/rank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def test_a_slow_body_is_told_so_and_cut_off(service):
    said = converse(service, HEAD % 1000 + b'{"cases":')
    assert said.startswith(b"HTTP/1.1 408")
    assert b'"slow-body"' in said


def test_a_client_that_leaves_in_the_middle_leaves_the_service_well(service, http):
    for _ in range(20):
        with socket.create_connection(service.address, timeout=5) as connection:
            connection.sendall(HEAD % 1000 + b'{"cases":')
    converse(service, HEAD % 1000 + b'{"cases":', half_close=True)
    assert http.post("/v1/rank", json={"cases": [{"text": "Seizure"}]}).status_code == 200


def test_a_name_that_is_not_this_machines_is_refused_without_a_token(http):
    for host in ("attacker.example", "attacker.example:8000", "127.0.0.1.attacker.example", ""):
        assert problem(http.get("/v1/scorer", headers={"host": host}))[:2] == (403, "foreign-host")
    for host in ("localhost", "localhost:1", "127.0.0.1:8000", "[::1]:8000"):
        assert http.get("/v1/scorer", headers={"host": host}).status_code == 200


def test_metrics_count_requests_cases_batches_stages_and_refusals_and_hold_nothing_of_a_case(http):
    http.post("/v1/rank", json={"cases": [{"id": "Erika", "text": "Mustermann"}, {"id": "Erika"}]})
    text = http.get("/metrics").text
    for line in (
        'route="/v1/rank",status="200"',
        'outcome="ranking"',
        'code="empty-case"',
        "batch_size_bucket",
        'stage="forward"',
        "queued_cases",
    ):
        assert line in text
    assert "Erika" not in text
    assert "Mustermann" not in text


def test_pages_stand_alone_and_are_policed(http, service):
    for path in ("/", "/docs"):
        answer = http.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http" not in answer.text.replace(service.url, "").replace("https://example", "")
    assert http.get("/livez").json() == http.get("/readyz").json() == {"status": "ok"}


def test_the_log_holds_nothing_that_was_sent(service, http):
    http.post("/v1/rank", json={"cases": [{"id": "Erika-7", "text": "Mustermann-7"}]})
    rank(http, '{"cases": "Mustermann-8"')
    folder = service.log.parent
    logs = [service.log, *folder.rglob("*.log")]
    text = "".join(path.read_text(errors="replace") for path in logs)
    assert "Mustermann" not in text
    assert "Erika" not in text
