"""Every corpus that lies in an object store gives the cases that it gives from a disk, and no refusal for a bad day."""

import gzip
import json
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mint_ray.corpora.gmdb import Gmdb
from mint_ray.corpora.image_folder import ImageFolder
from mint_ray.corpora.pannuke import PanNuke
from mint_ray.corpora.phenopackets import Phenopackets
from mint_ray.corpora.prepare import prepare_cases
from mint_ray.corpora.store import case_table, run_labels
from mint_ray.corpora.table import Table
from mint_ray.errors import StorageError
from mint_ray.parquet import read_table
from mint_ray.records import Case, to_table
from mint_ray.runs import Run
from mint_ray.storage import files_below, files_in, remote
from mint_ray.tasks.rare_disease import RareDisease
from tests.corpora.pictures import jpeg
from tests.corpora.test_gmdb import database, patient
from tests.corpora.test_image_folder import encoded
from tests.corpora.test_pannuke import write_fold
from tests.corpora.test_phenopackets import packet
from tests.tiny_run import tiny_config


@pytest.fixture(scope="module", autouse=True)
def ray_that_reaches_the_store(object_store, local_ray):
    pass


def lines(folder: Path) -> dict:
    """JSON lines with an image inside, beside, missing and outside of the folder."""
    (folder / "faces").mkdir(parents=True)
    (folder / "faces" / "a.jpg").write_bytes(jpeg())
    rows = [{"case_id": f"c{i}", "group_id": f"g{i}", "label_id": f"L{i % 6}"} for i in range(30)]
    rows[0]["image_path"], rows[1]["image_path"], rows[2]["image_path"] = "faces/a.jpg", "faces/none.jpg", "../a.jpg"
    (folder / "cases.jsonl").write_text("\n".join([*map(json.dumps, rows), "{no json"]))
    (folder / "labels.json").write_text(json.dumps([{"id": f"L{i}", "name": f"label {i}"} for i in range(6)]))
    return {"kind": Table, "path": "cases.jsonl", "label_list": "labels.json"}


def parquet(folder: Path) -> dict:
    folder.mkdir()
    for number in range(2):
        rows = [
            Case(case_id=f"c{number}-{i}", group_id=f"g{number}-{i}", label_id=f"L{i % 6}", image=jpeg())
            for i in range(12)
        ]
        pq.write_table(to_table(rows, Case), folder / f"{number}.parquet", row_group_size=5)
    return {"kind": Table, "path": ""}


def images_by_label(folder: Path) -> dict:
    for i in range(18):
        (folder / f"label {i % 6}").mkdir(parents=True, exist_ok=True)
        (folder / f"label {i % 6}" / f"p{i}_1.png").write_bytes(encoded() if i else b"no image")
    return {"kind": ImageFolder, "path": "", "group_pattern": r"(p\d+)_"}


def images_by_table(folder: Path) -> dict:
    (folder / "images").mkdir(parents=True)
    rows = ["path,label,patient"]
    for i in range(18):
        (folder / "images" / f"{i}.png").write_bytes(encoded())
        rows.append(f"images/{i}.png,L{i % 6},p{i}")
    (folder / "labels.csv").write_text("\n".join([*rows, "images/none.png,L1,p1", "../x.png,L1,p2"]))
    return {"kind": ImageFolder, "path": "", "table": Path("labels.csv")}


def gmdb(folder: Path) -> dict:
    rows = [patient(i, internal_syndrome_id=str(i % 6)) for i in range(24)]
    database(folder, rows[:18], rows[18:])
    (folder / "gmdb_crops" / "3_aligned.jpg").unlink()
    return {"kind": Gmdb, "folder": ""}


def packets() -> list[dict]:
    diseases = ["OMIM:147920", "OMIM:105830", "OMIM:194050"]
    return [
        packet(id=f"PMID_{i}_p", metaData={"externalReferences": [{"id": f"PMID:{i}"}]})
        | {"interpretations": [{"progressStatus": "SOLVED", "diagnosis": {"disease": {"id": diseases[i % 3]}}}]}
        for i in range(18)
    ]


def zipped_packets(folder: Path) -> dict:
    folder.mkdir()
    with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for each in packets():
            archive.writestr(f"0.1/{each['id']}.json", json.dumps(each))
        archive.writestr("0.1/broken.json", "{")
    return {"kind": Phenopackets, "path": "all.zip"}


def packed_packets(folder: Path) -> dict:
    folder.mkdir()
    whole = gzip.compress("\n".join(map(json.dumps, packets())).encode())
    (folder / "all.jsonl.gz").write_bytes(whole)
    (folder / "torn.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 1000)[:-9])
    return {"kind": Phenopackets, "path": ""}


def loose_packets(folder: Path) -> dict:
    for each in packets():
        (folder / "a").mkdir(parents=True, exist_ok=True)
        (folder / "a" / f"{each['id']}.json").write_text(json.dumps(each))
    return {"kind": Phenopackets, "path": ""}


def pannuke(folder: Path) -> dict:
    for fold in (1, 2, 3):
        write_fold(folder, fold, ["Breast", "Colon", "Lung", "Brest"])
    return {"kind": PanNuke, "folder": ""}


def corpus(folder: Path, settings: dict):
    kind = settings["kind"]
    named = ("path", "folder", "label_list")
    paths = {key: folder / value if value else folder for key, value in settings.items() if key in named}
    given = {key: value for key, value in settings.items() if key != "kind"} | paths
    return kind(kind=kind.__module__.rpartition(".")[2], **given)


def uploaded(folder: Path, place: Path) -> Path:
    for path in files_below(folder):
        (place / path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())
    return place


def prepared(run_dir: Path, source) -> Run:
    task = RareDisease(kind="rare_disease", answer_size=2)
    run = Run(tiny_config(run_dir, corpus=source, preferences={"chosen": 2, "rejected": 1, "cut": 1}, task=task))
    run.carry_out("cases", prepare_cases)
    return run


def rows(run: Run) -> dict:
    refusals = files_in(run.stage("cases").path / "refused", "*.parquet")
    return {
        "cases": case_table(run).to_pylist(),
        "refused": [row for file in refusals for row in read_table(file).to_pylist()],
        "labels": run_labels(run),
        **{key: run.stage("cases").manifest[key] for key in ("rows", "refused", "figures")},
    }


SOURCES = [
    lines,
    parquet,
    images_by_label,
    images_by_table,
    gmdb,
    zipped_packets,
    packed_packets,
    loose_packets,
    pannuke,
]


@pytest.mark.parametrize("made", SOURCES, ids=lambda made: made.__name__)
def test_a_corpus_in_a_store_gives_the_cases_that_it_gives_from_a_disk(made, tmp_path, bucket, monkeypatch):
    monkeypatch.setenv("MINT_RAY_CACHE", str(tmp_path / "cache"))
    settings = made(tmp_path / "corpus")
    there = corpus(uploaded(tmp_path / "corpus", bucket / "corpus"), settings)
    assert any(remote(value) for value in vars(there).values())
    local = rows(prepared(tmp_path / "run", corpus(tmp_path / "corpus", settings)))
    assert rows(prepared(bucket / "run", there)) == local
    assert len(local["cases"]) > 8
    left = {path.relative_to(bucket / "run" / "cases").parts[0] for path in files_below(bucket / "run" / "cases")}
    assert left <= {"begun.json", "manifest.json", "labels.json", "part-00000.parquet", "refused"}


@pytest.mark.parametrize(
    ("made", "ending", "read_before"),
    [
        (lines, "a.jpg", 0),
        (lines, "cases.jsonl", 0),
        (images_by_table, ".png", 5),
        (gmdb, "_aligned.jpg", 5),
        (zipped_packets, "all.zip", 1),
        (loose_packets, "_p.json", 5),
        (packed_packets, "all.jsonl.gz", 0),
        (parquet, "1.parquet", 1),
    ],
)
def test_credentials_that_expire_while_a_corpus_is_read_refuse_no_row(
    made, ending, read_before, tmp_path, bucket, object_store
):
    settings, reads = made(tmp_path / "corpus"), []
    there = corpus(uploaded(tmp_path / "corpus", bucket / "corpus"), settings)

    def refused(method: str, path: str) -> str | None:
        reads.extend([path] if method == "GET" and path.endswith(ending) else [])
        return "ExpiredToken" if len(reads) > read_before else None

    object_store.refuse(refused)
    with pytest.raises(StorageError, match=r"the credentials have expired"):
        prepared(bucket / "run", there)
    object_store.refuse(lambda method, path: None)
    assert rows(prepared(bucket / "run", there)) == rows(
        prepared(tmp_path / "run", corpus(tmp_path / "corpus", settings))
    )
