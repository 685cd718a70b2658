"""A word that stands in every text of a corpus, and nowhere else than where texts have to be kept.

It is looked for in what a stage prints and logs, in its manifests and refusals, its figures and pages, in what PhEval
reads, in Ray's own logs and metrics: after stages that end well, whose workers die, and whose readers and scorers fail.
The services are held to the same in tests/service.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from mint_ray.corpora.base import Corpus
from mint_ray.corpora.phenopackets import Phenopackets
from mint_ray.corpora.prepare import prepare_cases
from mint_ray.corpora.table import Table
from mint_ray.line import LINE
from mint_ray.records import Phenotype
from mint_ray.reports.evaluate import evaluate
from mint_ray.runs import Run
from tests.alignment.conftest import packaged_model, tiny_model, tokenizer  # noqa: F401
from tests.conftest import REPOSITORY
from tests.rankings.test_build import build
from tests.rankings.toys import toy_cases, toy_run
from tests.scorers.tiny import SIZE
from tests.tiny_run import answered_run, tiny_case, tiny_config, tiny_image, write_answers, write_cases

WORD = "Quokkabert"
# Where a run keeps texts, since the next stage reads them there, or whoever reads answers.
KEPT = ("cases/*.parquet", "preferences/pairs/*/*.parquet", "answers/*/*.parquet", "evaluation/graded/*/*.parquet")


def holds(path: Path) -> bool:
    """Whether a file has the word, in whatever case; of Parquet, its rows and what it says of itself."""
    told = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        told = f"{table.to_pylist()} {table.schema.metadata}".encode(errors="replace")
    return WORD.lower().encode() in told.lower()


def told(folder: Path, kept: tuple[str, ...] = KEPT) -> list[str]:
    """The files below a folder that have the word and are none of those that may."""
    allowed = {path for pattern in kept for path in folder.glob(pattern)}
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [str(path.relative_to(folder)) for path in files if path not in allowed and holds(path)]


def holders(run: Run) -> set[str]:
    """The patterns of `KEPT` under which the word stands: it was really there."""
    return {pattern for pattern in KEPT if any(map(holds, run.dir.glob(pattern)))}


def ray_logs() -> Path:
    from ray._private.worker import _global_node

    return Path(_global_node.get_logs_dir_path())


def ray_metrics() -> str:
    """What every node exports."""
    import ray

    addresses = [f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in ray.nodes()]
    return "".join(urllib.request.urlopen(address, timeout=30).read().decode() for address in addresses)


class Dying(Corpus):
    """Another corpus, one of whose blocks ends the process that holds it, once."""

    kind: str = "dying"
    of: Corpus
    flag: Path

    def labels(self):
        return self.of.labels()

    def outcomes(self, seed):
        return self.of.outcomes(seed).map_batches(
            partial(die_once, flag=self.flag), batch_format="pyarrow", batch_size=None
        )

    def __getattr__(self, name):
        return getattr(self.of, name)


def die_once(block, flag: Path):
    if not flag.exists():
        flag.touch()
        os._exit(1)
    return block


def table_rows() -> list:
    """Sixty patients with the word in every text, and a row for each way of being wrong, with the word there."""
    finding = {"id": "HP:0001252", "name": f"Hypotonia {WORD}", "excluded": False}
    texts = {"text": f"{WORD} came in", "ethnicity": WORD, "phenotypes": [finding], "sex": "female"}
    good = [
        {"case_id": f"c{i}", "group_id": f"g{i // 2}", "label_id": f"L{i // 2 % 6}", **texts, "age_years": 3}
        for i in range(60)
    ]
    wrong = [
        {"age_years": WORD},
        {"age_years": f"1e{WORD}"},
        {"sex": WORD},
        {"split": WORD},
        {"text": {"note": WORD}},
        {"text": [WORD]},
        {"ethnicity": {"told": WORD}},
        {"phenotypes": WORD},
        {"phenotypes": [WORD]},
        {"phenotypes": [{"id": "HP:0001252", "name": WORD, "excluded": WORD}]},
        {"phenotypes": [{"id": "HP:0001252", "name": WORD, "modality": WORD}]},
        {"phenotypes": [{"id": "HP:0001252", "name": {"word": WORD}}]},
        {"phenotypes": [finding | {"note": WORD}]},
        {"synthetic": WORD},
        {"image": WORD},
        {"image": f"{WORD}===="},
    ]
    bad = [good[0] | {"case_id": f"bad{i}"} | fields for i, fields in enumerate(wrong)]
    again = [good[0], {k: v for k, v in good[1].items() if k != "label_id"}]
    return [*good, *bad, *again, f"{{no json, {WORD}", f'["{WORD}"]', f'"{WORD}"']


def packet(i: int) -> dict:
    finding = {"type": {"id": "HP:0001252", "label": "Hypotonia"}, "description": WORD, "excluded": False}
    label = ("OMIM:147920", "OMIM:163950", "OMIM:122470", "OMIM:180849", "OMIM:154500")[i // 2 % 5]
    return {
        "id": f"p{i}",
        "subject": {"id": f"s{i}", "description": WORD, "sex": "FEMALE"},
        "phenotypicFeatures": [finding],
        "diseases": [{"term": {"id": label, "label": label}, "description": WORD}],
        "metaData": {"phenopacketSchemaVersion": "2.0", "createdBy": WORD, "externalReferences": [{"id": f"PMID:{i}"}]},
    }


def packets() -> list:
    """Packets with the word in their free texts, and a packet for each way of being wrong."""
    wrong = [
        {"subject": WORD},
        {"subject": {"sex": {"told": WORD}}},
        {"subject": {"timeAtLastEncounter": {"age": {"iso8601duration": WORD}}}},
        {"subject": {"timeAtLastEncounter": WORD}},
        {"phenotypicFeatures": WORD},
        {"phenotypicFeatures": [WORD]},
        {"phenotypicFeatures": [{"type": {"id": WORD, "label": WORD}}]},
        {"phenotypicFeatures": [{"type": {"id": "HP:0001252"}, "excluded": WORD}]},
        {"phenotypicFeatures": [{"type": WORD}]},
        {"diseases": WORD},
        {"diseases": [], "interpretations": WORD},
        {"diseases": [], "interpretations": [{"progressStatus": WORD, "diagnosis": {"note": WORD}}]},
        {"metaData": WORD},
        {"metaData": {"phenopacketSchemaVersion": WORD}},
        {"metaData": {"externalReferences": [{"id": {"told": WORD}, "description": WORD}]}},
    ]
    bad = [packet(0) | {"id": f"bad{i}"} | fields for i, fields in enumerate(wrong)]
    return [*map(packet, range(60)), *bad, f"{{no json, {WORD}"]


def lines(path: Path, rows: list) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def corpora(folder: Path) -> dict[str, Corpus]:
    return {
        "table": Table(kind="table", path=lines(folder / "cases.jsonl", table_rows())),
        "phenopackets": Phenopackets(kind="phenopackets", path=lines(folder / "packets.jsonl", packets())),
    }


@pytest.mark.parametrize("kind", ["table", "phenopackets"])
def test_no_reader_tells_a_patients_words_whatever_is_wrong_with_a_row_or_a_worker(
    kind, local_ray, tmp_path, capfd, caplog
):
    corpus = Dying(of=corpora(tmp_path)[kind], flag=tmp_path / "died")
    run = Run(tiny_config(tmp_path / "run", corpus=corpus))
    run.carry_out("cases", prepare_cases)
    assert corpus.flag.exists() and run.stage("cases").manifest["rows"]["refused"] >= 10
    assert kind != "table" or "cases/*.parquet" in holders(run)
    printed = capfd.readouterr()
    assert WORD not in printed.out + printed.err + caplog.text
    assert told(run.dir) == told(ray_logs()) == []
    metrics = ray_metrics()
    assert "ray_" in metrics and WORD not in metrics


def test_no_scorer_that_fails_or_dies_tells_what_it_was_shown(local_ray, tmp_path, capfd, caplog):
    """The scorer's own error quotes the case that it cannot read."""
    cases = [case.model_copy(update={"text": f"{case.text} {WORD}"}) for case in toy_cases(60)]
    cases[7] = cases[7].model_copy(update={"text": f"unreadable {WORD}"})
    run = build(toy_run(tmp_path / "run", cases), dies_once=tmp_path / "died")
    assert (tmp_path / "died").exists() and run.stage("rankings").manifest["rows"]["refused"] == 1
    assert holders(run) == {"cases/*.parquet", "preferences/pairs/*/*.parquet"}
    printed = capfd.readouterr()
    assert WORD not in printed.out + printed.err + caplog.text
    assert told(run.dir) == told(ray_logs()) == []


def test_no_page_figure_or_result_tells_what_a_model_repeats(tmp_path, capfd, caplog):
    """Both models repeat the note beside their names and as a name."""
    run = repeating_run(tmp_path)
    evaluate(run)
    assert holders(run) == {"cases/*.parquet", "answers/*/*.parquet", "evaluation/graded/*/*.parquet"}
    printed = capfd.readouterr()
    assert WORD not in printed.out + printed.err + caplog.text
    assert told(run.dir) == []


def test_what_has_to_be_told_is_found_by_this_search(tmp_path):
    """Where a user asks for the models' words the page has the word, and the search sees it."""
    run = repeating_run(tmp_path, evaluation={"show_words": True, "bootstrap": 100})
    evaluate(run)
    assert told(run.dir) == ["evaluation/report.html"]
    assert "answers/base/part-0.parquet" in told(run.dir, kept=())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_line_with_a_worker_killed_in_every_stage_tells_nothing(tiny_model, tmp_path):  # noqa: F811
    """As a user runs it, and again where a kill ended it; Ray's logs are looked through, too."""
    run, session = tmp_path / "run", Path(tempfile.mkdtemp(prefix="ray"))  # a socket's path has 107 bytes
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(small_line(run, lines(tmp_path / "cases.jsonl", pictured_rows()), tiny_model)))
    output, struck = [], {}
    for _ in range(8):
        command = [sys.executable, "jobs/run_line.py", str(config)]
        with (tmp_path / "output").open("w+") as log:
            job = subprocess.Popen(
                command, cwd=REPOSITORY, stdout=log, stderr=log, env={**os.environ, "RAY_TMPDIR": str(session)}
            )
            while job.poll() is None:
                strike(job.pid, run, struck)
                time.sleep(0.2)
        output.append((tmp_path / "output").read_text())
        if not job.returncode:
            break
    assert job.returncode == 0, output[-1]
    assert len(struck) >= 3, struck  # a stage may be done before a worker of it is seen
    assert {"cases/*.parquet", "preferences/pairs/*/*.parquet"} <= {
        pattern for pattern in KEPT if any(map(holds, run.glob(pattern)))
    }
    assert not any(WORD.lower() in each.lower() for each in output)
    # Every note has the word, so it is nobody's; what few have is not there, see tests/scorers/test_vilt_scorer.py.
    assert told(run, (*KEPT, "scorer/tokenizer.json")) == told(session) == []
    shutil.rmtree(session)


def strike(job: int, run: Path, struck: dict[str, str]) -> None:
    """Kill one of the job's working processes in each stage that has begun, once."""
    begun = [s for s in LINE if (run / s / "begun.json").exists() and not (run / s / "manifest.json").exists()]
    for stage in set(begun) - set(struck):
        for process in psutil.Process(job).children(recursive=True):
            with suppress(psutil.Error):
                name = " ".join(process.cmdline())
                if name.startswith("ray::") and "IDLE" not in name and "Actor" not in name.split(".")[0]:
                    process.kill()
                    struck[stage] = name
                    break


def pictured_rows() -> list:
    picture = base64.b64encode(tiny_image()).decode()
    return [row | {"image": picture} if isinstance(row, dict) and "image" not in row else row for row in table_rows()]


def small_line(folder: Path, corpus: Path, model: Path) -> dict:
    """Settings of the whole line, with a scorer and a language model that are tiny and know nothing."""
    return {
        "run": {"dir": str(folder), "seed": 3},
        "task": {"kind": "rare_disease", "answer_size": 3},
        "corpus": {"kind": "table", "path": str(corpus)},
        "splits": {"train": 0.6, "validation": 0.1, "test": 0.3},
        "scorer": {"kind": "vilt", "size": SIZE, "epochs": 1, "batch_size": 8, "cpus_per_worker": 1},
        "preferences": {"chosen": 3, "rejected": 2, "cut": 2},
        "alignment": {
            **{"model": str(model), "lora": {"rank": 4, "alpha": 8, "dropout": 0.0}, "precision": "fp32"},
            **{"batch_size": 4, "save_steps": 4, "max_length": 512},
        },
        "inference": {"engine": "transformers", "precision": "fp32", "max_tokens": 16, "max_model_len": 512},
        "evaluation": {"bootstrap": 100},
    }


def repeating_run(folder: Path, **sections) -> Run:
    run = answered_run(folder / "run", synthetic=False, **sections)
    finding = Phenotype(id="HP:0001252", name=f"Hypotonia {WORD}")
    texts = {"text": f"{WORD} came in", "ethnicity": WORD, "phenotypes": [finding], "synthetic": False}
    cases = [tiny_case(i, **texts) for i in range(12)]
    write_cases(run, cases)
    answer = f"{WORD} came in\n" + run.config.task.answer([WORD, f"Angelman syndrome in {WORD}", "Kabuki syndrome 1"])
    for model in ("base", "aligned"):
        write_answers(run, model, {case.case_id: answer for case in cases}, cases)
    return run
