"""A cluster that does not have what a recipe asks for: said before any stage starts, by setting."""

import os
import subprocess
import sys

import pytest

from mint_ray.capacity import check_capacity, demands, shortfall
from mint_ray.config import NodeGroup, load_config
from mint_ray.errors import ConfigError
from tests.conftest import REPOSITORY

GMDB = REPOSITORY / "configs" / "rare_disease_gmdb_llama3b_4xa100.yaml"


def node(cpus: float, gpus: float, nodes: int = 1) -> NodeGroup:
    return NodeGroup(nodes=nodes, cpus=cpus, gpus=gpus)


LAPTOP = [node(4, 0)]
FOUR_GPUS = [node(8, 0), node(32, 4)]


def problems(stage: str, now: list[NodeGroup], *overrides: str, at_most: list[NodeGroup] = ()) -> list[str]:
    config = load_config(GMDB, list(overrides))
    return [told for demand in demands(config, stage) if (told := shortfall(demand, now, at_most))]


@pytest.mark.parametrize(
    ("stage", "count", "gpus"),
    [
        ("rankings", "rankings.actors", "rankings.gpus_per_actor"),
        ("alignment", "alignment.workers", "alignment.use_gpu"),
        ("answers", "inference.engines", "inference.tensor_parallel"),
    ],
)
def test_gpus_that_are_not_there_are_named_by_setting_wanted_available_and_ways_out(stage, count, gpus):
    [told] = problems(stage, LAPTOP)
    assert told.startswith(f"{count} and {gpus}: 4 x 1 GPU wanted, each on one node; this cluster has no GPU. Lower ")
    assert "cluster.autoscaling" in told


@pytest.mark.parametrize("stage", ["cases", "scorer", "rankings", "preferences", "alignment", "answers", "evaluation"])
def test_the_cluster_that_a_recipe_is_made_for_fits(stage):
    assert problems(stage, FOUR_GPUS) == []


def test_a_scorer_that_is_taken_as_it_is_asks_for_one_gpu_and_no_workers():
    assert problems("scorer", [node(4, 1)]) == []
    assert problems("scorer", LAPTOP)[0].startswith("scorer.use_gpu: 1 x 1 GPU wanted")
    fitted = ["scorer.state_dict=null", "scorer.label_list=null"]
    assert "scorer.workers and scorer.use_gpu: 4 x 1 GPU wanted" in problems("scorer", [node(64, 1)], *fitted)[0]


def test_what_one_worker_asks_for_must_be_on_one_node():
    two_of_two = [node(16, 2), node(16, 2)]
    assert problems("answers", two_of_two, "inference.engines=2", "inference.tensor_parallel=2") == []
    [told] = problems("answers", two_of_two, "inference.engines=1", "inference.tensor_parallel=4")
    assert "1 x 4 GPU wanted, each on one node; this cluster has 2 x 2 GPU." in told


def test_shares_of_a_gpu_are_counted():
    thirds = ["rankings.gpus_per_actor=0.25", "rankings.actors=4"]
    assert problems("rankings", [node(8, 1)], *thirds) == []
    assert problems("rankings", [node(8, 1)], "rankings.gpus_per_actor=0.25", "rankings.actors=5")


def test_cpus_are_counted_too():
    [told] = problems("rankings", [node(2, 8)])
    assert told.startswith("rankings.actors and rankings.cpus_per_actor: 4 x 1 CPU wanted")
    assert "2 x 8" not in told and "has 1 x 2 CPU" in told


def test_the_tasks_that_read_cases_need_a_cpu_beside_the_engines():
    on_cpus = ["inference.use_gpu=false", "inference.engines=1", "inference.cpus_per_engine=2"]
    [told] = problems("answers", [node(2, 0)], *on_cpus)
    assert "1 x 2 CPU wanted, each on one node and 1 more to read the cases; this cluster has 1 x 2 CPU." in told
    assert problems("answers", [node(2, 0), node(1, 0)], *on_cpus) == []
    assert problems("answers", [node(2, 0)], "inference.engines=2", "inference.endpoint=http://127.0.0.1:8001/v1") == []


def test_a_cluster_that_grows_is_believed_up_to_its_maximum():
    grows = [node(16, 1, nodes=4)]
    assert problems("alignment", LAPTOP, at_most=grows) == []
    [told] = problems("alignment", LAPTOP, "alignment.workers=5", at_most=grows)
    assert "this cluster has no GPU, which may grow to 4 x 1 GPU" in told


def test_a_job_on_a_named_cluster_stops_before_its_first_stage(local_ray, tmp_path):
    import ray

    command = ["jobs/run_line.py", "configs/demo.yaml", "--set", f"run.dir={tmp_path / 'run'}"]
    asked = ["--set", "alignment.use_gpu=true", "--set", "alignment.workers=3", "--set", "rankings.actors=9"]
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    done = subprocess.run(
        [sys.executable, *command, *asked], capture_output=True, text=True, cwd=REPOSITORY, env=environment
    )
    assert done.returncode == 1
    assert "alignment.workers and alignment.use_gpu: 3 x 1 GPU wanted" in done.stderr
    assert "rankings.actors and rankings.cpus_per_actor: 9 x 1 CPU wanted" in done.stderr
    assert not (tmp_path / "run" / "cases").exists()


def test_the_settings_say_what_a_cluster_may_grow_to(local_ray):
    growing = "cluster.autoscaling=[{nodes: 4, cpus: 8, gpus: 1}]"
    check_capacity(load_config(GMDB, [growing]), ["alignment"])
    with pytest.raises(ConfigError, match=r"no GPU, which may grow to 4 x 1 GPU\."):
        check_capacity(load_config(GMDB, [growing, "alignment.workers=8"]), ["alignment"])
