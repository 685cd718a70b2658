"""Files in = files read + files refused + files left out by name, for every corpus; and labels told at the end."""

import gzip
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mint_ray.corpora.gmdb import Gmdb
from mint_ray.corpora.image_folder import ImageFolder
from mint_ray.corpora.inventory import survey
from mint_ray.corpora.pannuke import PanNuke
from mint_ray.corpora.phenopackets import Phenopackets
from mint_ray.corpora.prepare import prepare_cases
from mint_ray.corpora.store import case_table, run_labels
from mint_ray.corpora.table import Table
from mint_ray.errors import CorpusError
from mint_ray.runs import Run
from mint_ray.tasks.genes import Genes
from mint_ray.tasks.rare_disease import RareDisease
from tests.corpora.here import told
from tests.corpora.test_gmdb import database, patient
from tests.corpora.test_image_folder import encoded
from tests.corpora.test_pannuke import write_fold
from tests.corpora.test_phenopackets import genomic, packet, with_variants
from tests.tiny_run import tiny_config


def put(folder: Path, *names: str, data: bytes = b"x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def prepared(folder: Path, corpus, task=None) -> Run:
    settings = {"preferences": {"chosen": 2, "rejected": 1, "cut": 1}, "splits": {"validation": 0.1}}
    task = task or RareDisease(kind="rare_disease", answer_size=2)
    run = Run(tiny_config(folder / "run", corpus=corpus, task=task, **settings))
    run.carry_out("cases", prepare_cases)
    return run


def figures(run: Run) -> dict:
    return run.stage("cases").manifest["figures"]


def packets(folder: Path, count: int = 12, **changes) -> None:
    diseases = ["OMIM:147920", "OMIM:105830", "OMIM:194050"]
    for i in range(count):
        disease = {"progressStatus": "SOLVED", "diagnosis": {"disease": {"id": diseases[i % 3], "label": f"d{i % 3}"}}}
        each = packet(id=f"p{i}", interpretations=[disease], metaData=None) | changes
        put(folder, f"{i}.json", data=json.dumps(each).encode())


def test_every_file_of_packets_is_in_one_count(tmp_path, here, caplog):
    folder = tmp_path / "store"
    packets(folder)
    good = json.dumps(packet(id="more")).encode()
    put(folder, "a/README", "notes.txt", "b.txt", ".DS_Store", "a/._p.json", "Thumbs.db", "__MACOSX/p.json")
    put(folder, "a.pb", "b.PBTXT", "c.tar.gz", "d.csv", "e.json.bz2", ".git/x.json", "broken.json")
    put(folder, "upper.JSON", data=good)
    put(folder, "one.json.gz", data=gzip.compress(json.dumps(packet(id="gz")).encode()))
    put(folder, "lines.ndjson", data=json.dumps(packet(id="nd")).encode())
    put(folder, "nothing.jsonl", data=b"")
    put(folder, "torn.json.gz", data=gzip.compress(b"{}" * 999)[:-9])
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        archive.writestr("v1/z.json", json.dumps(packet(id="z")))
        for name in ("v1/readme.md", "v1/.hidden.json", "v1/x.pb", "v1/more.zip"):
            archive.writestr(name, "x")
        archive.mkdir("v1/deep")
    zipfile.ZipFile(folder / "empty.zip", "w").close()
    put(folder, "no.zip")
    os.mkfifo(folder / "pipe.json")
    (folder / "nowhere.json").symlink_to("gone.json")
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "other").symlink_to(folder / "a")
    (folder / "linked.json").symlink_to(folder / "0.json")
    (folder / os.fsdecode(b"caf\xe9.json")).write_bytes(good)
    (folder / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")

    run = prepared(tmp_path, Phenopackets(kind="phenopackets", path=folder))
    found = figures(run)["files"]
    assert found["in"] == found["read"] + found["refused"] + found["left_out"]
    everything = sum(len(names) + sum(Path(p, d).is_symlink() for d in dirs) for p, dirs, names in os.walk(folder))
    assert found["in"] == everything - 1 + 5  # the members of z.zip in its place
    # broken, torn, no.zip, a.pb, b.PBTXT, x.pb, café.json
    assert found["refused"] == 7
    assert found["why"] == {
        "hidden": 6,
        ".txt: is not read here": 3,
        "a link that leads nowhere (FileNotFoundError)": 1,
        "a link that leads nowhere (OSError)": 1,
        "a link to a folder, which is not followed": 1,
        "an archive without a file": 1,
        "no regular file": 1,
        "no ending: is not read here": 1,
        ".tar.gz: an archive that is not opened; unpack it": 1,
        ".csv: is not read here": 1,
        ".json.bz2: is not read here": 1,
        ".md: is not read here": 1,
        ".zip: an archive that is not opened; unpack it": 1,
    }
    refused = run.stage("cases").manifest["refused"]
    assert {name: refused[name] for name in ("unread-format", "unreadable-name", "unreadable-file", "no-json")} == {
        "unread-format": 3,
        "unreadable-name": 1,
        "unreadable-file": 2,
        "no-json": 1,
    }
    listed = (run.stage("cases").path / "left_out.tsv").read_text().splitlines()
    assert len(listed) == 1 + found["left_out"]
    assert "store/notes.txt\t.txt: is not read here" in listed
    assert r"store/caf\udce9.txt" in "\n".join(listed)
    (words,) = [r.getMessage() for r in caplog.records if "left out: 6 hidden" in r.getMessage()]
    assert "left_out.tsv" in words


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch):
    put(tmp_path, "a/x.json", "b/y.json")
    listing = os.scandir

    def closed(path):
        if Path(path).name == "b":
            raise PermissionError(13, "no", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", closed)
    found, inventory = survey(tmp_path, tmp_path, lambda name: None)
    assert [file.name for file in found] == ["x.json"]
    assert inventory.left_out == [("b", "a folder that cannot be listed (PermissionError)")]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path)])
def test_a_source_that_is_neither_file_nor_folder_is_refused_and_not_opened(tmp_path, make):
    make(tmp_path / "x.json")
    with pytest.raises(CorpusError, match=r"x.json: (is no regular file|cannot be looked at)"):
        Phenopackets(kind="phenopackets", path=tmp_path / "x.json").inventory()


def counts(corpus) -> dict:
    return corpus.inventory().figures(set())


def test_tables_of_both_forms_are_read_together(tmp_path, here):
    pq.write_table(pa.table({"case_id": ["a"], "label_id": ["L"]}), tmp_path / "a.PARQUET")
    put(tmp_path, "b.jsonl", data=b'{"case_id": "b", "label_id": "L", "image_path": "b.png"}')
    put(tmp_path, "b.png", data=encoded())
    put(tmp_path, "labels.json", data=b'[{"id": "L", "name": "one"}]')
    put(tmp_path, "c.csv", "c.tsv", "_SUCCESS", "d.parquet", "e.json")
    corpus = Table(kind="table", path=tmp_path, label_list=tmp_path / "labels.json")
    name = tmp_path.name
    assert told(corpus) == [
        (f"{name}/a.PARQUET:1", 0, "a"),
        (f"{name}/b.jsonl:1", 0, "b"),
        (f"{name}/d.parquet", 0, "unreadable-file"),
    ]
    assert counts(corpus) == {
        "in": 9,
        "read": 4,
        "refused": 0,
        "left_out": 5,
        "why": {
            "no ending: is not read here": 1,
            "images: one is read where the image_path of a line names it": 1,
            ".csv: is not read here": 1,
            ".tsv: is not read here": 1,
            ".json: is not read here": 1,
        },
    }


def test_tiles_of_every_format_are_read_and_what_is_none_is_named(tmp_path, here):
    forms = {"a.png": "PNG", "b.TIF": "TIFF", "c.tiff": "TIFF", "d.webp": "WEBP", "e.bmp": "BMP", "f.JPG": "JPEG"}
    for name, form in forms.items():
        put(tmp_path, f"ADI/{name}", data=encoded(form=form))
    put(tmp_path, "ADI/g.gif", "ADI/h.svs", "ADI/i.zip", "labels.csv", "loose.png", "ADI/Thumbs.db")
    corpus = ImageFolder(kind="image_folder", path=tmp_path)
    assert [case for *_, case in told(corpus)] == [f"ADI/{name}" for name in sorted(forms)]
    assert counts(corpus)["in"] == 12
    assert counts(corpus)["why"] == {
        ".gif: is not read here": 1,
        ".svs: is not read here": 1,
        ".zip: an archive that is not opened; unpack it": 1,
        "hidden": 1,
        ".csv: is not read here": 1,
        "in no label's folder": 1,
    }


def test_images_that_a_table_does_not_name_are_named(tmp_path, here):
    put(tmp_path, "a/1.png", "a/2.tif", data=encoded())
    put(tmp_path, "labels.csv", data=b"path,label,patient\na/1.png,L,p\n./a/1.png,L,p\nnone.png,L,p\n")
    corpus = ImageFolder(kind="image_folder", path=tmp_path, table="labels.csv")
    assert counts(corpus)["why"] == {".tif: the table does not name it": 1}
    assert counts(corpus)["read"] == 2
    put(
        tmp_path,
        "labels.csv",
        data=f"path,label,patient\n{tmp_path}/a/1.png,L,p\n{tmp_path.name}/../a/2.tif,L,p\n".encode(),
    )
    assert counts(corpus)["left_out"] == 0  # QuPath writes whole paths
    assert counts(corpus)["read"] == 3


def test_files_of_gmdb_that_no_row_names_are_named(tmp_path):
    folder = database(tmp_path, [patient(1), patient(2)], [patient(3)])
    put(folder, "gmdb_crops/4_aligned.jpg", "gmdb_crops/1.jpg", "gmdb_rare_test_images_v1.0.9.csv", "list.json")
    corpus = Gmdb(kind="gmdb", folder=folder, label_list=folder / "list.json")
    assert counts(corpus) == {
        "in": 10,
        "read": 7,
        "refused": 0,
        "left_out": 3,
        "why": {
            ".jpg: no row of the frequent set names it": 2,
            ".csv: no row of the frequent set names it": 1,
        },
    }


def test_masks_and_folds_that_are_not_asked_for_are_named(tmp_path):
    for fold in (1, 2):
        write_fold(tmp_path, fold, ["Breast"], np.uint8)
    put(tmp_path, "Fold 1/masks/fold1/masks.npy", "Fold 1/README.md")
    corpus = PanNuke(kind="pannuke", folder=tmp_path, folds={1: "train"})
    assert counts(corpus)["read"] == 2
    assert counts(corpus)["why"] == {
        ".npy: is not read here": 1,
        ".md: is not read here": 1,
        "a fold that corpus.folds does not name": 2,
    }


def test_one_gene_by_ids_of_two_registries_is_one_label_and_the_others_are_told(tmp_path, here, caplog):
    genes = [("HGNC:7606", "MYO7A"), ("ENSG00000137474", "MYO7A"), ("HGNC:7133", "KMT2D"), ("HGNC:1", "kmt2d")]
    caplog.set_level("INFO")
    for i in range(24):
        each = with_variants(genomic(*genes[i % 4])) | {"id": f"p{i}", "metaData": None}
        put(tmp_path / "p", f"{i}.json", data=json.dumps(each).encode())
    corpus = Phenopackets(kind="phenopackets", path=tmp_path / "p", label="gene")
    run = prepared(tmp_path, corpus, Genes(kind="genes", answer_size=2))
    assert figures(run)["labels_merged"] == {"ENSEMBL:ENSG00000137474": {"into": "HGNC:7606", "cases": 6}}
    assert figures(run)["names_shared"] == {"count": 1, "first": {"kmt2d": ["HGNC:1", "HGNC:7133"]}}
    cases = case_table(run, ["label_id", "label_name"]).to_pylist()
    assert sum(c == {"label_id": "HGNC:7606", "label_name": "MYO7A"} for c in cases) == 12
    assert [label.id for label in run_labels(run)] == ["HGNC:1", "HGNC:7133", "HGNC:7606"]
    assert "label ids that became another: 1 (ENSEMBL:ENSG00000137474 is HGNC:7606)" in caplog.text
    assert "such an answer is uncertain: 1 (kmt2d: HGNC:1, HGNC:7133)" in caplog.text
