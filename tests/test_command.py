"""The command line: which commands there are, what a wrong word is told, and what the wheel brings."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mint_ray import recipes
from mint_ray.command import LINES, OTHERS, STAGES, main, overview
from mint_ray.config import load_config
from mint_ray.line import LINE
from tests.conftest import REPOSITORY


def said(capsys, *words: str) -> tuple[int, str]:
    """Status and message of a command line that ends in an error."""
    with pytest.raises(SystemExit) as ended:
        main(*words)
    return ended.value.code, capsys.readouterr().err


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch):
    monkeypatch.setattr("sys.argv", ["mint-ray"])


@pytest.mark.parametrize("name", [*LINES, *STAGES, *OTHERS])
def test_every_command_is_listed_and_names_a_function_that_is_there(name):
    says, dotted = {**LINES, **STAGES, **OTHERS}[name]
    module, _, function = dotted.partition(":")
    source = Path(importlib.util.find_spec(module).origin).read_text()
    assert re.search(rf"^def {function}\(", source, re.M)
    assert re.search(rf"^  {name} +{re.escape(says)}$", overview(), re.M)


def test_the_stages_are_those_of_a_run_in_their_order():
    assert list(STAGES) == list(LINE)


def test_a_wrong_word_is_told_the_nearest(capsys):
    assert said(capsys, "evaluate") == (2, "mint-ray evaluate: is no command; did you mean evaluation?\n")
    assert said(capsys, "xyz")[1].startswith("mint-ray xyz: is no command; there are run, compare, cases, ")


def test_a_recipe_that_does_not_exist_is_told_the_nearest(capsys):
    status, message = said(capsys, "run", "dmo")
    assert status == 2 and "dmo: is no recipe; did you mean demo? There are compare_phenopackets_cpu, " in message
    assert said(capsys, "recipes", "demo_tisue")[1].startswith("demo_tisue: is no recipe; did you mean demo_tissue?")


def test_a_file_and_a_folder_by_a_recipe_s_name_go_before_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipes.settings_file("demo") == recipes.FOLDER / "demo.yaml"
    assert recipes.settings_file("demo.yaml") == Path("demo.yaml")
    Path("demo").write_text("run: {dir: mine}\n")
    assert recipes.settings_file("demo") == Path("demo")


def test_recipes_are_listed_printed_and_copied_out_over_nothing(capsys, tmp_path):
    main("recipes")
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == recipes.names()
    assert all(line.endswith(".") for line in listed)  # a title is a sentence that ends in its line
    main("recipes", "demo")
    text = capsys.readouterr().out
    assert text == (recipes.FOLDER / "demo.yaml").read_text()
    copy = tmp_path / "mine.yaml"
    with pytest.raises(SystemExit) as ended:
        main("recipes", "demo", "--to", str(copy))
    assert ended.value.code is None and copy.read_text() == text
    assert load_config(copy) == load_config("demo")
    copy.write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main("recipes", "demo", "--to", str(copy))
    assert "exists already, and is kept" in str(ended.value.code) and copy.read_text() == "mine"
    with pytest.raises(SystemExit) as ended:
        main("recipes", "demo", "--to", str(tmp_path / "none" / "mine.yaml"))
    assert str(ended.value.code).endswith("mine.yaml cannot be written (No such file or directory)")


def test_a_pipe_whose_reader_is_gone_is_no_complaint():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "mint_ray", "recipes"], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_repository_s_configs_are_the_recipes():
    assert (REPOSITORY / "configs").is_symlink()
    assert sorted(path.stem for path in (REPOSITORY / "configs").glob("*.yaml")) == recipes.names()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of what it is made of."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "mint_ray", source / "mint_ray", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", source / "out", "."], cwd=source, check=True)
    return next((source / "out").glob("mint_ray-*.whl"))


def test_the_wheel_holds_every_file_of_the_package_and_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        points = archive.read(next(name for name in held if name.endswith("entry_points.txt"))).decode()
    folder = REPOSITORY / "mint_ray"
    wanted = {f"mint_ray/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}
    assert {name for name in wanted if "__pycache__" not in name} <= held
    assert {Path(name).suffix for name in held} >= {".j2", ".html", ".yaml", ".typed"}
    assert "mint-ray = mint_ray.command:main" in points


def test_the_installed_wheel_answers_in_an_empty_folder(wheel, tmp_path):
    site, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(install, check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def answer(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, site / "bin" / "mint-ray", *words]
        return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)

    assert answer("--help").stdout == f"{overview()}\n"
    assert answer("recipes").stdout.split()[0] == recipes.names()[0]
    wrong = answer("run", "demo", "--set", "alignment.learning_rte=1")
    assert (wrong.returncode, "did you mean learning_rate?" in wrong.stderr) == (2, True)
    where = "import mint_ray; print(mint_ray.__file__)"
    found = subprocess.run([sys.executable, "-c", where], cwd=home, env=environment, capture_output=True, text=True)
    assert found.stdout.startswith(str(site)) and not list(home.iterdir())
