"""The attack's own bookkeeping: what it would tell if anything differed."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.attack import kills, memory, service_kills, sources
from benchmarks.attack.__main__ import table
from benchmarks.attack.results import Results, summary
from mint_ray.corpora.table import Table
from tests.corpora.here import here  # noqa: F401


def test_results_stand_until_a_second_call_and_a_line_that_was_cut_is_tried_again(tmp_path):
    Results(tmp_path / "kills.jsonl").add("kill: driver", 1, [], number=0)
    with (tmp_path / "kills.jsonl").open("a") as file:
        file.write('{"kind": "kill: dri')
    second = Results(tmp_path / "kills.jsonl")
    second.add("kill: driver", 1, ["curve not as undisturbed"], number=1)
    assert [row["number"] for row in Results(tmp_path / "kills.jsonl").rows] == [0, 1]
    assert second.differs


def test_the_table_counts_what_was_tried_and_says_what_differs():
    rows = [
        {"kind": "sources: lines", "tried": 25, "differs": [], "number": 0, "cases": 3},
        {"kind": "sources: lines", "tried": 25, "differs": ["source 26: 1 rows lost"], "number": 25, "cases": 4},
    ]
    assert summary(rows) == {"sources: lines": {"tried": 50, "cases": 7, "differing": 1}}
    said = table(summary(rows), rows[1:], {"sources": 1, "services": -15})
    assert said.endswith("source 26: 1 rows lost\n1 differences\nservices could not end: status -15")


@pytest.fixture
def tried(tmp_path, here):  # noqa: F811
    """What a batch of sources says of itself, read in this process."""

    def of(count: int = 2) -> list[str]:
        results = Results(tmp_path / "sources.jsonl")
        sources.try_batch("lines", range(count), tmp_path / "lines", results)
        return results.rows[-1]["differs"]

    return of


def test_sources_that_come_through_as_they_are_do_not_differ(tried):
    assert tried() == []


def test_a_source_that_is_alone_in_its_batch_is_no_union(tried):
    assert tried(1) == []


def test_a_row_that_is_lost_on_the_way_is_told(tried, monkeypatch):
    monkeypatch.setattr(sources, "_numbered", lambda block, number, whole=sources._numbered: whole(block[1:], number))
    assert tried()[0].startswith("source 0: ") and "rows lost through Ray, 0 new" in tried()[0]


def test_a_file_that_is_not_told_is_told(tried, monkeypatch):
    monkeypatch.setattr(Table, "inventory", lambda self, whole=Table.inventory: _without_one(whole(self)))
    assert "files are not told, first" in tried()[0]


def _without_one(inventory):
    inventory.left_out.clear()
    return inventory


def test_a_stream_that_fails_is_told_by_the_source_that_fails_it(tried, monkeypatch):
    def fails(block, number, whole=sources._numbered):
        if number == 0:
            raise ValueError("no")
        return whole(block, number)

    monkeypatch.setattr(sources, "_numbered", fails)
    assert tried() == ["source 0, through Ray: ValueError: no"]


TITLES = {
    "driver": "/bin/python jobs/run_line.py line.yaml --set run.dir=/a",
    "raylet": "/site-packages/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/ray/sockets/raylet",
    "gcs": "/site-packages/ray/core/src/ray/gcs/gcs_server --log_dir=/tmp/ray/logs",
    "train worker": "ray::RayTrainWorker.execute",
    "train controller": "ray::TrainController.run",
    "engine": "ray::MapWorker(MapBatches(TransformersEngine)).submit",
    "data actor": "ray::MapWorker(MapBatches(PartScorer))",
    "data task": "ray::ReadParquet->Filter",
    "idle worker": "ray::IDLE",
    "agent": "ray::RuntimeEnvAgent",
    "Ray's own actor": "ray::_StatsActor",
}


def test_every_process_is_of_the_kind_that_its_title_says():
    assert {kills.kind_of(title): title for title in TITLES.values()} == TITLES
    assert set(TITLES) == set(kills.VICTIMS)
    assert kills.kind_of("sleep 5") is None


class Disturbed:
    """A chain whose end is like the undisturbed one but for its curve."""

    def __init__(self, folder: Path, status: int):
        self.folder, self._status = folder, status
        self.folder.mkdir()

    def kill(self, stage: str, following: str | None, seconds: float) -> kills.Kill:
        return kills.Kill(stage, 0.5, "driver")

    def complete(self) -> int:
        return self._status


@pytest.mark.parametrize(
    ("found", "status", "differs"),
    [
        ({"curve": [1], "answers": []}, 0, {}),
        ({"curve": [2], "answers": []}, 0, {"alignment": ["curve not as undisturbed"]}),
        ({}, 1, {"evaluation": ["the command goes on to status 1"]}),
    ],
)
def test_what_differs_stands_with_the_stage_that_made_it_and_is_kept(tmp_path, monkeypatch, found, status, differs):
    for stage in kills.STAGES:
        (tmp_path / "standard" / stage).mkdir(parents=True)
        (tmp_path / "standard" / stage / "manifest.json").write_text(json.dumps({"seconds": 1.0}))
    monkeypatch.setattr(kills, "outcome", lambda folder: found)
    chain = Disturbed(tmp_path / "chain", status)
    made = kills.carry_out(chain, tmp_path / "standard", {"curve": [1], "answers": []})
    assert {kill.stage: kill.differs for kill in made if kill.differs} == differs
    assert chain.folder.exists() == bool(differs)
    assert Counter(kill.stage for kill in made) == Counter(kills.STAGES)


SERVICE = {
    "replica": ["ray::ServeReplica:scorer:ScorerDeployment"],
    "controller": ["ray::ServeController.listen_for_change"],
    "proxy": ["ray::ProxyActor"],
    "manager of HAProxy": ["ray::HAProxyManager"],
    "engine": ["VLLM::EngineCore"],
    "scorer": ["/bin/python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5)"],
    "HAProxy": ["/lib/haproxy", "-db", "-f", "haproxy.cfg"],
}


def test_every_process_of_a_service_is_of_the_kind_that_its_command_says():
    assert {service_kills.kind_of(command): command for command in SERVICE.values()} == SERVICE
    assert service_kills.kind_of(["python", "-c", "from multiprocessing.resource_tracker import main"]) is None
    assert service_kills.kind_of([]) is None


@pytest.mark.parametrize(
    ("met", "took", "differs"),
    [
        ([(0, None), (503, None), (200, "a")], 1.0, []),
        ([(200, "b"), (200, "b")], 1.0, ["another answer"]),
        ([(422, None), (200, "a")], 1.0, ["status 422"]),
        ([(503, None)], None, ["not back within 240 s"]),
    ],
)
def test_a_service_comes_back_with_the_same_answer_or_it_is_told(met, took, differs):
    assert service_kills.told(met, "a", took) == differs


def test_memory_grows_by_the_slope_of_its_second_half():
    seconds = [30.0 * n for n in range(20)]
    warming_up = [500 + 20 * n for n in range(10)] + [700.0] * 10
    assert memory.growth(seconds, warming_up) == pytest.approx(0)
    assert memory.growth(seconds, [1000 + n for n in range(20)]) == pytest.approx(20 / 1010)
