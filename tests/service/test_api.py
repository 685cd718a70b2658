"""What the running service answers to ordinary and to malformed requests."""

import base64
import json
import math
import socket
import subprocess
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from mint_ray.service.api import EXAMPLE_IMAGE
from mint_ray.service.problems import CODES
from mint_ray.service.settings import is_loopback


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


def listening(service) -> list:
    """Where the service's processes listen, Ray's among them."""
    command = psutil.Process(service.process.pid)
    family = {process.pid for process in (command, *command.children(recursive=True))}
    return [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid in family]


def test_nothing_listens_beyond_this_machine_but_what_asks_for_rays_token(service):
    found = listening(service)
    assert service.address[1] in {at.port for at in found}
    beyond = {at.port for at in found if not is_loopback(at.ip.removeprefix("::ffff:"))}
    assert len(beyond) < len(found)
    for port in beyond:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/ray.serve.ASGIService/HandleRequest")(b"", timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, port


def own_ports(service) -> list[int]:
    """Those of the replicas, behind HAProxy."""
    return [at.port for at in listening(service) if 30000 <= at.port <= 31000]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        HEAD.replace(b"POST", b"PUT") % 1000 + b"{",
        HEAD.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n") % 1000 + b"{",
        HEAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 1000,
        HEAD.replace(b"\r\n\r\n", b"\r\nX-Request-Timeout-Seconds: 0\r\n\r\n") % 1000 + b"{",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_a_request_put_straight_to_a_replica_is_answered_or_let_go(service, sent):
    (port,) = own_ports(service)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        assert connection.recv(65536) is not None


CANARY = "canary-Mustermann"


def test_no_field_of_a_case_reaches_a_log_a_metric_or_an_error(service, http):
    """Every field that holds text, in requests that are right, that are wrong, and that are none."""
    finding = {"id": CANARY, "name": CANARY}
    case = {"id": CANARY, "text": CANARY, "ethnicity": CANARY, "phenotypes": [finding], "image": EXAMPLE_IMAGE}
    told = [http.post("/v1/rank", json={"cases": [case | {wrong: value}]}) for wrong, value in wrong_values().items()]
    told += [rank(http, json.dumps({"cases": [case]})[:cut]) for cut in (30, 200)]
    told += [http.post("/v1/rank/upload", data={CANARY: CANARY, "text": CANARY, "sex": CANARY, "top_k": CANARY})]
    told += [http.post("/v1/rank/upload", files={"image": (CANARY, CANARY.encode())}, data={"text": CANARY})]
    told += [http.request(CANARY[:6].upper(), f"/{CANARY}?{CANARY}", headers={"X-Request-Id": CANARY})]
    told += [http.get(f"/v1/{CANARY}", headers={CANARY: CANARY})]
    for answer in told:
        text = answer.text.replace(f'"id":"{CANARY}"', "")  # a case's own id comes back with its result
        assert CANARY not in text, text
    assert CANARY not in http.get("/metrics").text
    searched = [service.log, *session_logs(service)]
    assert len(searched) > 5
    assert [path.name for path in searched if CANARY in path.read_text(errors="replace")] == []


def wrong_values() -> dict[str, object]:
    return {
        "text": f"{CANARY}\x00",
        "sex": CANARY,
        "age_years": CANARY,
        "image": CANARY,
        "phenotypes": CANARY,
        CANARY: CANARY,
        "ethnicity": CANARY * 20,
        "id": CANARY * 20,
    }


def session_logs(service) -> list[Path]:
    """What the service's Ray wrote."""
    files = [
        file.path for each in psutil.Process(service.process.pid).children(recursive=True) for file in opened(each)
    ]
    folders = {Path(*Path(path).parts[: Path(path).parts.index("logs") + 1]) for path in files if "/session_2" in path}
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def opened(process: psutil.Process) -> list:
    try:
        return [file for file in process.open_files() if "/logs/" in file.path]
    except psutil.NoSuchProcess:
        return []
