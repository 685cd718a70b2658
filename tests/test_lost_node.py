"""A node of a cluster loses its power in the middle of a stage: what comes of it is what an undisturbed run leaves."""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from mint_ray.alignment.align import align
from mint_ray.cluster import ray_session
from mint_ray.config import ClusterSection
from mint_ray.inference.predict import predict
from mint_ray.inference.store import answer_folder, answer_table
from mint_ray.models import model_digest
from mint_ray.parquet import part_files
from mint_ray.rankings.build import build_rankings
from mint_ray.rankings.store import ranking_table
from mint_ray.runs import Run, open_run
from tests.aligned_run import save_adapter
from tests.alignment.conftest import packaged_model, tiny_model, tokenizer  # noqa: F401
from tests.alignment.test_align import curve, run_of
from tests.nodes import DASHBOARD, Cluster, Node, can_make_nodes, cluster_of_nodes, wait_for
from tests.rankings.test_build import ranked
from tests.rankings.toys import WordScorer, hard_cases, toy_run
from tests.tiny_run import SMALL_LINE, finish_stage, tiny_case, tiny_config, write_cases

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not can_make_nodes(), reason="network namespaces need root and the command `ip`"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with cluster_of_nodes(tmp_path_factory.mktemp("ray")) as cluster:
        yield cluster


@pytest.fixture
def second(cluster) -> Iterator[Node]:
    """A second node beside the head, to be lost."""
    node = cluster.join()
    yield node
    if node in cluster.nodes:
        cluster.lose(node)


def carry_out(cluster: Cluster, work: Callable, folder: Path, *more: str, meanwhile: Callable = lambda: None) -> None:
    """Call one of the functions below in a driver on the head, and do something as it runs."""
    log = folder.with_name(f"{folder.name}.log")
    code = f"import sys; from tests.test_lost_node import {work.__name__} as work; work(*sys.argv[1:])"
    finish(cluster.drive(["-c", code, str(folder), *more], log), log, meanwhile)


def finish(driver: subprocess.Popen, log: Path, meanwhile: Callable) -> None:
    """Do something as a driver runs, and see it end well."""
    try:
        meanwhile()
        assert driver.wait(600) == 0
    except Exception as error:
        raise AssertionError(log.read_text()[-6000:]) from error


def lose_at_work(cluster: Cluster, node: Node, work: str) -> None:
    """Lose a node as soon as one of its workers is seen in a call whose name holds `work`."""
    wait_for(lambda: any(work in title for title in node.at_work()), f"{work} on {node.address}")
    assert any(work in title for title in cluster.lose(node))


def lost(run: Run, stage: str) -> list[str]:
    return [node["address"] for node in run.stage(stage).manifest["lost_nodes"]]


# rankings


def toys(folder: Path) -> Run:
    """Two actors, of which a node of three CPUs has room for one."""
    return toy_run(folder, hard_cases(), actors=2, cpus_per_actor=2)


def rank(folder: str, pause: str) -> None:
    scorer = partial(WordScorer, pause=float(pause), journal=Path(folder).with_suffix(".journal"))
    with ray_session(ClusterSection()):
        toys(Path(folder)).carry_out("rankings", partial(build_rankings, load=scorer))


def test_rankings_lose_nothing_and_score_nothing_again_that_was_done(cluster, second, tmp_path):
    carry_out(cluster, rank, tmp_path / "undisturbed", "0")
    rankings, done = tmp_path / "run" / "rankings", {}

    def lose_the_second():
        wait_for(lambda: len(part_files(rankings)) >= 3, "three parts")
        lose_at_work(cluster, second, "PartScorer")
        done.update({path.name: path.stat().st_mtime_ns for path in part_files(rankings)})

    carry_out(cluster, rank, tmp_path / "run", "1", meanwhile=lose_the_second)

    run = toys(tmp_path / "run")
    assert ranked(run) == ranked(toys(tmp_path / "undisturbed"))
    assert 3 <= len(done) < 9
    assert {name: (rankings / name).stat().st_mtime_ns for name in done} == done
    finished = {row["case_id"] for name in done for row in pq.read_table(rankings / name).to_pylist()}
    scored = Counter(line.split()[0] for line in (tmp_path / "run.journal").read_text().splitlines())
    assert {scored[case_id] for case_id in finished} == {1}
    assert lost(run, "rankings") == [second.address]
    assert lost(toys(tmp_path / "undisturbed"), "rankings") == []


# alignment


def pairs(folder: Path, model: str) -> Run:
    """Two workers, 24 steps, a checkpoint every four."""
    run = run_of(folder, Path(model), workers=2, batch_size=4, epochs=8)
    for stage in ("cases", "scorer", "preferences"):
        if not run.stage(stage).complete:
            finish_stage(run, stage)
    return run


def train(folder: str, model: str) -> None:
    """Train with one worker on each node, and with room for both on either once there is a checkpoint."""
    run = pairs(Path(folder), model)
    with ray_session(ClusterSection()):
        taken = [take_all_cpus_but_one(node) for node in ray.nodes() if node["Alive"]]

        def give_back():
            wait_for(lambda: checkpoints(run), "a checkpoint")
            for each in taken:
                ray.kill(each)

        threading.Thread(target=give_back, daemon=True).start()
        run.carry_out("alignment", align)


def take_all_cpus_but_one(node: dict) -> ray.actor.ActorHandle:
    class Taken:
        def there(self) -> bool:
            return True

    how = {"num_cpus": node["Resources"]["CPU"] - 1, "resources": {f"node:{node['NodeManagerAddress']}": 0.01}}
    taken = ray.remote(Taken).options(**how).remote()
    assert ray.get(taken.there.remote())
    return taken


def checkpoints(run: Run) -> list[Path]:
    """The state of the trainer in each of them, which has the curve so far."""
    return sorted(run.stage("alignment").path.glob("checkpoints/checkpoint_*/checkpoint/trainer_state.json"))


def rates(rows: list[dict]) -> list[float]:
    """How fast each step was, which no two workers repeat."""
    return [row["pairs_per_second"] for row in rows if "loss" in row]


def steps(run: Run) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in curve(run) if "loss" in row]


def test_alignment_goes_on_from_its_checkpoint_to_the_same_adapter(cluster, second, tiny_model, tmp_path):  # noqa: F811
    carry_out(cluster, train, tmp_path / "undisturbed", str(tiny_model))
    undisturbed, run = (pairs(tmp_path / name, str(tiny_model)) for name in ("undisturbed", "run"))
    kept = []

    def lose_the_second():
        wait_for(lambda: checkpoints(run), "a checkpoint")
        kept.extend(rates(json.loads(checkpoints(run)[0].read_text())["log_history"]))
        wait_for(lambda: len(checkpoints(run)) > 1, "the next one, before which Ray may not count on the first")
        lose_at_work(cluster, second, "RayTrainWorker")
        assert not (run.stage("alignment").path / "adapter").exists()

    carry_out(cluster, train, tmp_path / "run", str(tiny_model), meanwhile=lose_the_second)

    assert [step for step, _ in steps(run)] == list(range(1, 25))
    assert steps(run) == steps(undisturbed)
    assert len(kept) == 4 and kept == rates(curve(run))[:4]  # drawn by the workers before the loss, and not again
    assert adapter_digest(run) == adapter_digest(undisturbed)
    assert lost(run, "alignment") == [second.address]
    assert lost(undisturbed, "alignment") == []


def adapter_digest(run: Run) -> str:
    return model_digest(run.stage("alignment").path / "adapter")


# answers


def patients(folder: Path) -> Run:
    """Twenty-four patients to be asked about two at a time, by two engines of one CPU; an adapter."""
    settings = {"models": ["aligned"], "precision": "fp32", "max_tokens": 16, "max_model_len": 300, "cache_gib": 0.25}
    run = Run(tiny_config(folder, inference={**settings, "batch_size": 2, "engines": 2, "cpus_per_engine": 1}))
    if not run.stage("alignment").complete:
        write_cases(run, [tiny_case(i, age_years=float(i)) for i in range(24)])
        for stage in ("scorer", "preferences"):
            finish_stage(run, stage)
        save_adapter(run.stage("alignment").path / "adapter")
        finish_stage(run, "alignment")
    return run


def answer(folder: str) -> None:
    with ray_session(ClusterSection()):
        patients(Path(folder)).carry_out("answers", predict)


def test_every_case_is_answered_once_and_as_it_would_have_been(cluster, second, tmp_path):
    carry_out(cluster, answer, tmp_path / "undisturbed")
    run, done = patients(tmp_path / "run"), {}

    def lose_the_second():
        wait_for(lambda: len(part_files(answer_folder(run, "aligned"))) >= 3, "three batches")
        lose_at_work(cluster, second, "VllmEngine")
        done.update({path: path.stat().st_mtime_ns for path in part_files(answer_folder(run, "aligned"))})

    carry_out(cluster, answer, tmp_path / "run", meanwhile=lose_the_second)

    answers = answer_table(run, "aligned").to_pylist()
    assert [each["case_id"] for each in answers] == [f"case-{i:03}" for i in range(24)]
    assert answers == answer_table(patients(tmp_path / "undisturbed"), "aligned").to_pylist()
    assert 3 <= len(done) < 12
    again = [path for path, written in done.items() if path.stat().st_mtime_ns != written]
    assert len(again) <= 1  # the batch of which the driver had not heard yet
    assert lost(run, "answers") == [second.address]
    assert lost(patients(tmp_path / "undisturbed"), "answers") == []


# the whole line, as a submitted job

LINE = {
    **SMALL_LINE,
    "rankings.actors": 2,
    "rankings.part_rows": 4,
    "inference.engines": 2,
    "inference.cpus_per_engine": 1,
    "inference.batch_size": 2,
    "inference.precision": "fp32",
}


def submit(cluster: Cluster, folder: Path, meanwhile: Callable = lambda: None) -> None:
    """The demo by `ray job submit`, as docs/cluster.md has it; it ends when the job does."""
    settings = [part for key, value in {"run.dir": folder, **LINE}.items() for part in ("--set", f"{key}={value}")]
    job = ["job", "submit", "--working-dir", ".", "--", "python", "jobs/run_line.py", "configs/demo.yaml", *settings]
    log = folder.with_name(f"{folder.name}.log")
    finish(cluster.drive(["-m", "ray.scripts.scripts", *job], log, RAY_API_SERVER_ADDRESS=DASHBOARD), log, meanwhile)


def outcome(folder: Path) -> dict:
    """The figures, and all that they rest on."""
    run = open_run(folder)
    return {
        "metrics": json.loads((folder / "evaluation" / "metrics.json").read_text()),
        "rankings": ranking_table(run).to_pylist(),
        **{model: answer_table(run, model).to_pylist() for model in ("base", "aligned")},
    }


@pytest.mark.timeout(1800)
def test_the_line_as_a_job_that_loses_two_nodes_ends_with_the_figures_of_one_that_loses_none(cluster, second, tmp_path):
    submit(cluster, tmp_path / "undisturbed")
    run = tmp_path / "run"

    def lose_two():
        wait_for(lambda: part_files(run / "rankings"), "a part", 600)
        lose_at_work(cluster, second, "PartScorer")
        third = cluster.join()
        wait_for(lambda: part_files(run / "answers" / "aligned"), "an answer", 900)
        lose_at_work(cluster, third, "VllmEngine")

    submit(cluster, run, lose_two)

    assert outcome(run) == outcome(tmp_path / "undisturbed")
    lost_in = {path.parent.name: json.loads(path.read_text())["lost_nodes"] for path in run.glob("*/manifest.json")}
    assert {stage: len(nodes) for stage, nodes in lost_in.items() if nodes} == {"rankings": 1, "answers": 1}
    report = (run / "evaluation" / "report.html").read_text()
    assert f"rankings<small>went on without the node {second.address}, which was lost" in report
