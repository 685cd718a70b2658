"""Every file that deployments/ ships is loaded as Serve loads it; one of another shape ends in one clear message."""

import copy
import os
import re
import socket
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ray.serve.schema import ServeDeploySchema

from mint_ray.config import load_config
from mint_ray.errors import ConfigError, RunError
from mint_ray.line import LINE
from mint_ray.runs import Run, StageReport
from mint_ray.service.file import HttpOptions, ServiceFile, bound, file_of_run, read_file
from mint_ray.service.launch import check_free, main
from mint_ray.service.ports import free_ports
from mint_ray.service.settings import ModelSection, ServiceSection, is_loopback
from tests.conftest import REPOSITORY
from tests.service.running import write_config


@pytest.mark.parametrize("path", sorted((REPOSITORY / "deployments").glob("scorer*.yaml")), ids=lambda path: path.name)
def test_a_shipped_configuration_is_valid_and_listens_on_loopback(path):
    config = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text()))
    assert is_loopback(config.http_options.host)
    for application in config.applications:
        module, _, name = application.import_path.partition(":")
        builder = getattr(import_module(module), name)
        assert (
            builder(get_type_hints(builder)["args"].model_validate(application.args))._bound_deployment.name == "scorer"
        )


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "deployments").glob("aligned_model*.yaml")), ids=lambda path: path.name
)
def test_a_shipped_configuration_of_models_has_valid_arguments_and_listens_on_loopback(path):
    """It is built by the test of the running service, which has a run to serve."""
    config = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text()))
    assert is_loopback(config.http_options.host)
    for application in config.applications:
        module, _, name = application.import_path.partition(":")
        ModelSection.model_validate(application.args)
        assert get_type_hints(getattr(import_module(module), name))["args"].__mro__[1] is ModelSection


SHIPPED = [REPOSITORY / "deployments" / name for name in ("scorer.yaml", "aligned_model.yaml")]


def load(text: str, folder) -> ServiceFile:
    """A file as the command takes it: its shape, and the arguments of each application."""
    path = folder / "service.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    file = read_file(path)
    for application in file.applications:
        bound(application, file.http_options.host)
    return file


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_file_is_taken_by_the_command_with_all_its_keys(path, tmp_path):
    assert load(path.read_text(), tmp_path).applications


ONE = "applications: [{import_path: 'deployments.scorer:build', args: {scorer: a, task: {kind: rare_disease}}}]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("- a", "holds a list where keys are expected"),
        ("just text", "holds a str where keys are expected"),
        ("3", "holds a int where keys are expected"),
        ("a: [", "line 1"),
        ("a: !!python/object:os.system {}", "line 1"),
        ("\x00", "service.yaml"),
        ("{}", "applications: Field required"),
        ("applications:", "applications: Input should be a valid list"),
        ("applications: []", "applications: List should have at least 1 item"),
        ("applications: scorer", "applications: Input should be a valid list"),
        ("applications: {name: a}", "applications: Input should be a valid list"),
        ("applications: [null]", "applications.0: Input should be a valid dictionary"),
        ("applications: [[]]", "applications.0: Input should be a valid dictionary"),
        ("applications: [{}]", "applications.0.import_path: Field required"),
        ("applications: [{import_path: 3}]", "applications.0.import_path: Input should be a valid string"),
        ("applications: [{import_path: nothing}]", "import_path: 'nothing' cannot be imported"),
        ("applications: [{import_path: ''}]", "import_path: '' cannot be imported"),
        ("applications: [{import_path: 'json:dumps'}]", "import_path: 'json:dumps' is no builder"),
        ("applications: [{import_path: 'deployments.scorer:Args'}]", "is no builder"),
        ("applications: [{import_path: '..:a'}]", "import_path: '..:a' cannot be imported"),
        ("applications: [{import_path: 'deployments.scorer:build', args: [1]}]", "applications.0.args: Input should"),
        ("applications: [{import_path: 'deployments.scorer:build', args: null}]", "applications.0.args: Input should"),
        ("applications: [{import_path: 'deployments.scorer:build'}]", "args.scorer: Field required"),
        (ONE.replace("scorer: a", "scorer: [a]"), "args.scorer"),
        (ONE.replace("scorer: a", "scorer: {a: b}"), "args.scorer"),
        (ONE.replace("{kind: rare_disease}", "[rare_disease]"), "args.task"),
        (ONE.replace("kind: rare_disease", "kind: [1]"), "args.task"),
        (ONE.replace("kind: rare_disease", "kind: ../base"), "args.task"),
        (ONE.replace("scorer: a", "scorer: a, limits: null"), "args.limits"),
        (ONE.replace("scorer: a", "scorer: a, limits: {request_seconds: .inf}"), "args.limits.request_seconds"),
        (ONE.replace("scorer: a", "scorer: a, access: {token_file: /}"), "access.token_file: / cannot be read"),
        (ONE.replace("scorer: a", 'scorer: a, access: {token_file: "a\\0b"}'), "token_file"),
        (ONE.replace("scorer: a", "scorer: a, 3: 4"), "args.3"),
        (ONE + "\nhttp_options: null", "http_options: Input should be a valid dictionary"),
        (ONE + "\nhttp_options: {host: null}", "http_options.host: Input should be a valid string"),
        (ONE + "\nhttp_options: {port: 70000}", "http_options.port: Input should be less than or equal to 65535"),
        (ONE + "\nhttp_options: {port: eighty}", "http_options.port: Input should be a valid integer"),
        (ONE + "\nhttp_options: {root_path: a/}", "http_options.root_path"),
        (ONE + "\nhttp_options: {hosts: 127.0.0.1}", "http_options.hosts: Extra inputs are not permitted"),
        (ONE + "\nproxy_location: Disabled", "proxy_location: Input should be 'HeadOnly' or 'EveryNode'"),
        (ONE + "\ngrpc_options: {port: 9000}", "grpc_options: Extra inputs are not permitted"),
        (ONE.replace("[{", "[{route_prefix: scorer, "), "applications.0.route_prefix: Value error, expected / or"),
        (ONE.replace("[{", "[{route_prefix: /scorer/, "), "applications.0.route_prefix"),
        (ONE.replace("[{", "[{route_prefix: '/{a}', "), "applications.0.route_prefix"),
        (ONE.replace("[{", "[{route_prefix: null, "), "applications.0.route_prefix"),
        (ONE.replace("[{", "[{deployments: [], "), "applications.0.deployments: Extra inputs are not permitted"),
        (ONE.replace("}]", "}, {import_path: 'a:b'}]"), "applications: 2 have the name 'default'"),
        (ONE.replace("}]", "}, {name: b, import_path: 'a:b'}]"), "applications: 2 have the route_prefix '/'"),
        (ONE + "\n" + ONE, "line 2"),
    ],
)
def test_a_file_of_another_shape_ends_in_one_message_that_names_the_key(text, words, tmp_path):
    with pytest.raises(ConfigError) as error:
        load(text, tmp_path)
    assert words in str(error.value)


def test_the_command_says_it_and_ends_with_status_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))  # it readies the environment for Ray
    (tmp_path / "service.yaml").write_text(ONE.replace("scorer: a", "scorer: a, replica: 3"))
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path / "service.yaml")])
    assert end.value.code == 2
    assert "1 setting(s) to mend" in (said := capsys.readouterr().err)
    assert "args.replica: Extra inputs are not permitted" in said
    assert "Traceback" not in said


def run_up_to(last: str, folder) -> Run:
    """The demo's run, whose stages have made nothing."""
    run = Run(load_config("demo").moved(folder / "run"))
    for stage in LINE:
        run.carry_out(stage, lambda run: StageReport())
        if stage == last:
            return run


@pytest.mark.parametrize(("models", "port", "kind"), [(False, 8000, ServiceSection), (True, 8001, ModelSection)])
def test_a_run_is_served_as_the_shipped_files_serve_the_demo(models, port, kind, tmp_path):
    run = run_up_to("alignment", tmp_path)
    file = file_of_run(run.dir, models)
    shipped = read_file(SHIPPED[models])
    assert file.http_options == shipped.http_options and file.http_options.port == port
    (application,) = file.applications
    builder, args = bound(application, file.http_options.host)
    assert (
        isinstance(args, kind)
        and builder.__name__ == "application"
        and application.name == shipped.applications[0].name
    )
    assert str(args.run if models else args.scorer).startswith(str(run.dir))


def test_a_run_that_has_not_come_so_far_is_not_served(tmp_path):
    run = run_up_to("cases", tmp_path)
    with pytest.raises(RunError, match="run the stage `scorer` first"):
        file_of_run(run.dir, models=False)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def keys(value, path=()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, below in inner for found in keys(below, (*path, key)))]


WHOLE = {
    "proxy_location": "HeadOnly",
    "http_options": {"host": "127.0.0.1", "port": 8000, "root_path": "", "request_timeout_s": 3.0},
    "logging_config": {"enable_access_log": False},
    "applications": [
        {
            "name": "scorer",
            "route_prefix": "/",
            "import_path": "deployments.scorer:build",
            "args": {
                "scorer": "runs/demo/scorer",
                "task": {"kind": "rare_disease", "answer_size": 5},
                "replicas": 1,
                "threads": 2,
                "batching": {"max_batch_size": 32},
                "limits": {"queued_cases": 512, "request_seconds": 30, "cases": 64},
                "access": {"token_env": "MINT_RAY_TOKEN", "token_file": None},
            },
        },
        {
            "name": "models",
            "route_prefix": "/models",
            "import_path": "deployments.aligned_model:build",
            "args": {"run": "runs/demo", "adapters": {"a": "b"}, "names": ["a"], "engine": {"max_model_len": 400}},
        },
    ],
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(keys(WHOLE)[1:]), PLAIN)
def test_any_value_at_any_key_ends_in_a_file_or_in_a_message(tmp_path, path, value):
    changed = copy.deepcopy(WHOLE)
    *above, last = path
    place = changed
    for key in above:
        place = place[key]
    place[last] = value
    try:
        load(yaml.safe_dump(changed), tmp_path)
    except ConfigError as error:
        assert str(error)


def test_a_port_where_another_listens_is_told_before_anything_starts(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = write_config(tmp_path, tmp_path / "scorer")
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    with socket.create_server(("127.0.0.1", port)), pytest.raises(SystemExit) as ended:
        main([str(config)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"127.0.0.1:{port} cannot be taken, it is in use by " in said and f"process {os.getpid()}: stop that" in said


@pytest.mark.parametrize("name", ["scorer.yaml", "aligned_model.yaml"])
def test_a_service_before_its_run_is_told_before_anything_starts(name, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mint_ray.service.launch._set_environment", lambda values: None)  # for processes of their own
    settings = yaml.safe_load((REPOSITORY / "deployments" / name).read_text())
    settings["http_options"]["port"] = free_ports(1)[0]
    Path("service.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as ended:
        main(["service.yaml"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert re.search(
        r"args\.(scorer|run) is runs/demo(/scorer)?: there is nothing by that name; let its run end first", said
    )


@pytest.mark.parametrize(
    ("host", "why"), [("192.0.2.1", "Cannot assign requested address"), ("nobody.invalid", "not known|resolution")]
)
def test_an_address_of_another_machine_is_told(host, why):
    with pytest.raises(ConfigError, match=rf"{host}:\d+ cannot be taken, .*({why}).*address of this machine"):
        check_free(HttpOptions(host=host, port=free_ports(1)[0]))


def test_a_port_is_free_while_connections_to_it_are_closing():
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()  # the server's side closes first, and lingers
        client.close()
    check_free(HttpOptions(port=port))


def test_ctrl_c_before_a_service_is_ready_is_told_without_a_traceback(tmp_path, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mint_ray.service.launch.serve_applications", stopped)
    with pytest.raises(SystemExit) as ended:
        main([str(write_config(tmp_path, tmp_path / "scorer"))])
    assert (ended.value.code, capsys.readouterr().err) == (130, "Stopped before the service was ready.\n")
