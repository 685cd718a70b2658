"""Parts of other packages: found by their metadata, told apart by their packages, and none the worse for a broken one."""

import re
import sys
from pathlib import Path

import pytest

from mint_ray import plugins
from mint_ray.config import load_config
from mint_ray.errors import ConfigError, ModelError
from mint_ray.models import resolve_model
from mint_ray.scorers import load_scorer
from mint_ray.sections import kind_of, kinds
from mint_ray.tasks.base import Task
from mint_ray.tasks.tissue import Tissue
from tests.conftest import REPOSITORY

TASK = "from mint_ray.tasks.tissue import Tissue\n\nclass Other(Tissue):\n    pass\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs a package with entry points and a module, on this process's path."""

    def install(package: str, group: str, entries: dict[str, str], module: str = TASK) -> Path:
        folder = tmp_path / package
        metadata = folder / f"{package}-1.5.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        (folder / f"{package}_module.py").write_text(module)
        monkeypatch.syspath_prepend(folder)
        plugins._registered.cache_clear()
        plugins._entries.cache_clear()
        return folder

    yield install
    plugins._registered.cache_clear()
    plugins._entries.cache_clear()
    for name in [name for name in sys.modules if name.endswith("_module")]:
        del sys.modules[name]


def problem(*settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(REPOSITORY / "configs" / "demo_tissue.yaml", settings)
    return str(caught.value)


def test_a_kind_of_another_package_stands_beside_ours_and_is_read_as_ours_are(installed):
    installed("chest", "mint_ray.tasks", {"chest": "chest_module:Other"})
    assert {"chest", "genes", "rare_disease", "tissue"} <= {*kinds(Task)}
    config = load_config(REPOSITORY / "configs" / "demo_tissue.yaml", ["task.kind=chest"])
    assert type(config.task).__name__ == "Other" and config.task.answer_size == 1
    assert "task.answer_sise: is no setting; did you mean answer_size?" in problem(
        "task.kind=chest", "task.answer_sise=5"
    )


def test_an_unknown_kind_is_told_with_the_nearest_of_any_package(installed):
    installed("chest", "mint_ray.tasks", {"radiograph": "chest_module:Other"})
    told = problem("task.kind=radiographs")
    assert (
        "task: kind is 'radiographs'; did you mean radiograph? Expected one of genes, radiograph, rare_disease" in told
    )
    assert "kind is 7; expected one of genes" in problem("task.kind=7")


def test_a_package_that_does_not_load_is_named_with_the_reason_and_costs_no_other_kind(installed):
    installed("chest", "mint_ray.tasks", {"chest": "chest_module:Other"}, "import no_such_module\n")
    assert kind_of(Task, "tissue") is Tissue and "chest" in kinds(Task)
    told = problem("task.kind=chest")
    assert "task: kind is chest, which chest 1.5 registers as chest_module:Other" in told
    assert "ModuleNotFoundError: No module named 'no_such_module'" in told and "uninstall" in told


def test_a_name_that_an_entry_lacks_is_told_as_one_that_does_not_load(installed):
    installed("chest", "mint_ray.tasks", {"chest": "chest_module:Missing"})
    assert "AttributeError" in problem("task.kind=chest")


def test_two_packages_of_one_name_are_both_named_and_neither_is_taken(installed):
    for package in ("chest", "thorax"):
        installed(package, "mint_ray.tasks", {"chest": f"{package}_module:Other"})
    told = problem("task.kind=chest")
    assert "which 2 packages register" in told and "chest 1.5" in told and "thorax 1.5" in told


def test_another_package_does_not_take_the_place_of_one_of_ours(installed):
    installed("chest", "mint_ray.tasks", {"tissue": "chest_module:Other"})
    assert "which 2 packages register: mint_ray, chest 1.5" in problem()


def test_an_entry_in_the_wrong_group_is_told(installed):
    installed("chest", "mint_ray.corpora", {"chest": "chest_module:Other"})
    assert "kind is chest, which is registered in mint_ray.corpora and no subclass of Corpus" in problem(
        "corpus.kind=chest"
    )


def test_what_the_source_tree_registers_counts_and_not_what_an_older_installation_does(installed):
    installed("mint_ray", "mint_ray.tasks", {"tissue": "mint_ray.tasks.gone:Tissue", "old": "mint_ray.tasks.gone:Old"})
    assert kind_of(Task, "tissue") is Tissue and "old" not in kinds(Task)


def test_a_copy_without_a_source_tree_goes_by_what_is_installed(installed, monkeypatch, tmp_path):
    installed("mint_ray", "mint_ray.tasks", {"tissue": "mint_ray.tasks.tissue:Tissue"})
    monkeypatch.setattr(plugins, "__file__", str(tmp_path / "mint_ray" / "plugins.py"))
    assert kinds(Task) == ["tissue"] and kind_of(Task, "tissue") is Tissue


def test_the_other_packages_are_named_with_their_versions(installed):
    before = plugins.packages()
    installed("chest", "mint_ray.tasks", {"chest": "chest_module:Other"})
    installed("mint_ray", "mint_ray.tasks", {})
    assert plugins.packages() == before | {"chest": "1.5"}


def test_nothing_else_of_mint_ray_imports_the_synthetic_package():
    package, reaching = REPOSITORY / "mint_ray", re.compile(r"mint_ray\.synthetic|from mint_ray import .*\bsynthetic\b")
    found = {path for path in package.rglob("*.py") if reaching.search(path.read_text())}
    assert found and not {path for path in found if package / "synthetic" not in path.parents}


def test_a_model_of_another_package_is_had_by_its_name(installed):
    folder = installed("chest", "mint_ray.models", {"chest": "chest_module:model"}, "def model():\n    return FOLDER\n")
    with (folder / "chest_module.py").open("a") as module:
        module.write(f"from pathlib import Path\nFOLDER = Path({str(folder)!r})\n")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("")
    assert resolve_model("packaged:chest") == folder


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('{"kind": "vlit"}', "kind is 'vlit'; did you mean vilt"),
        ('{"kind": "clip", "templates": ["no place"]}', "templates: .*places for the label's name"),
        ("[]", "a section whose kind is one of clip, phenotype, vilt"),
        ("{", "no readable scorer.json"),
    ],
)
def test_a_scorers_folder_of_an_unknown_kind_or_with_wrong_settings_is_told(tmp_path, settings, told):
    (tmp_path / "scorer.json").write_text(settings)
    with pytest.raises(ModelError, match=told):
        load_scorer(tmp_path)
