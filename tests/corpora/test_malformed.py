"""Sources spoilt by a seeded grammar, over every reader: rows in are cases and refusals, files in are told, and no exception.

`MINT_RAY_MALFORMED` sets how many sources each reader is given.
"""

import gzip
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from mint_ray.corpora.gmdb import Gmdb
from mint_ray.corpora.image_folder import ImageFolder
from mint_ray.corpora.inventory import shown
from mint_ray.corpora.pannuke import PanNuke
from mint_ray.corpora.phenopackets import Phenopackets
from mint_ray.corpora.table import Table
from mint_ray.errors import CorpusError
from mint_ray.records import Case, Refusal
from tests.corpora.test_gmdb import COLUMNS, patient
from tests.corpora.test_image_folder import encoded
from tests.corpora.test_phenopackets import genomic, packet, with_variants

SOURCES = int(os.environ.get("MINT_RAY_MALFORMED", "60"))
CANARY = "Jane Doe of Springfield"
ODD = [
    *(None, True, 0, -1, 7, 10**400, 1e999, float("nan"), 0.5, "", " ", "\ud800", "\0", "a\nb", "‮x", "x" * 10_000),
    *("$x^$", "²", "٣", "P" + "9" * 400 + "Y", "-P3Y", "P0.5Y", "1e999", "999", "../../etc/passwd", "/dev/zero"),
    *(
        "HP:0001250",
        "OMIM:147920",
        "https://x/",
        CANARY,
        [],
        {},
        [None],
        [[]],
        {"id": None},
        [CANARY],
        {"a": {"b": []}},
    ),
]


def spoil(random: random.Random, value: Any) -> Any:
    """One place somewhere in plain data: dropped, doubled, renamed, replaced or wrapped."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        return random.choice(
            [
                lambda: value | {key: spoil(random, value[key])},
                lambda: value | {key: spoil(random, value[key])},
                lambda: rest,
                lambda: rest | {random.choice([key.upper(), f" {key}", "x", "\ud800"]): value[key]},
                lambda: value | {"members": [value]},
            ]
        )()
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        return [*value[:at], spoil(random, value[at]), *value[at + random.randrange(2) :]]
    return deep(value) if random.random() < 0.05 else random.choice([*ODD, value, [value], str(value)])


def deep(value: Any) -> Any:
    for _ in range(500):
        value = [value]
    return value


def torn(random: random.Random, data: bytes) -> bytes:
    """Bytes of a file: whole mostly, else cut, overwritten or of something else."""
    at, width = random.randrange(len(data) + 1), random.randrange(40)
    return random.choice(
        [
            *[lambda: data] * 5,
            lambda: data[:at],
            lambda: data[:at] + random.randbytes(width) + data[at + width :],
            lambda: data[:at] + bytes(width) + data[at + width :],
            lambda: random.choice([b"", b"\0", b"[" * 5000, b"\xff\xfe", b"\xef\xbb\xbf" + data, data + data]),
        ]
    )()


def a_packet(random: random.Random) -> Any:
    whole = random.choice([packet, lambda: with_variants(genomic("HGNC:7133", "KMT2D"))])() | {"note": CANARY}
    for _ in range(random.randrange(3)):
        whole = spoil(random, whole)
    return whole


def plain(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 2000


def as_yaml(value: Any) -> bytes:
    try:
        return yaml.safe_dump(value).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, RecursionError):
        return b"!!python/object:x {}"


def as_zip(random: random.Random, members: list[tuple[str, bytes]]) -> bytes:
    data = io.BytesIO()
    method = random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, text in members:
            archive.writestr(name, text)
    return data.getvalue()


NAMES = ["a", "é", ".hidden", "._a", "Thumbs.db", "with space", "a!b", "x:1", "sub/deep", "new\nline", "UPPER"]


def put(random: random.Random, folder: Path, ending: str, data: bytes) -> None:
    path = folder / f"{random.choice(NAMES)}{random.randrange(99)}{random.choice([ending, ending.upper()])}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def litter(random: random.Random, folder: Path) -> None:
    """What lies about in folders."""
    put(random, folder, random.choice(["", ".txt", ".tar", ".pb", ".csv", ".gz", ".npz", ".json.bz2"]), b"x")
    odd = [
        lambda: os.mkfifo(folder / "pipe.json"),
        lambda: (folder / "loop.json").symlink_to("loop.json"),
        lambda: (folder / "folder.json").mkdir(),
        lambda: (folder / "link").symlink_to(folder),
        lambda: (folder / os.fsdecode(b"caf\xe9.json")).write_bytes(b"{}"),
        lambda: (folder / "device.png").symlink_to("/dev/zero"),
        lambda: None,
    ]
    random.choice(odd)()


def packets(random: random.Random, folder: Path) -> Any:
    for _ in range(random.randrange(1, 5)):
        put(random, folder, ".json", torn(random, plain(a_packet(random))))
    put(random, folder, ".yml", torn(random, as_yaml(a_packet(random))))
    put(random, folder, ".json.gz", torn(random, gzip.compress(plain(a_packet(random)))))
    lines = b"\n".join(torn(random, plain(a_packet(random))) for _ in range(5))
    put(random, folder, ".jsonl.gz", torn(random, gzip.compress(lines)))
    members = [
        (random.choice(["a.json", "a.yml", "b.jsonl", ".x.json", "c.pb"]), plain(a_packet(random))) for _ in "ab"
    ]
    put(random, folder, ".zip", torn(random, as_zip(random, members)))
    litter(random, folder)
    return Phenopackets(kind="phenopackets", path=folder, label=random.choice(["disease", "gene"]))


def a_case(random: random.Random, number: int) -> Any:
    whole = {
        "case_id": f"c{number}",
        "label_id": "L",
        "text": CANARY,
        "age_years": 3.0,
        "sex": "male",
        "synthetic": True,
    }
    whole |= {"phenotypes": [{"id": "HP:0001250", "name": "Seizure"}], "image_path": "faces/a.jpg"}
    return spoil(random, whole) if random.random() < 0.7 else whole


def lines(random: random.Random, folder: Path) -> Any:
    (folder / "faces").mkdir()
    (folder / "faces" / "a.jpg").write_bytes(torn(random, encoded(form="JPEG")))
    for ending in (".jsonl", ".ndjson"):
        rows = [torn(random, plain(a_case(random, n))) for n in range(5)]
        put(random, folder, ending, b"\n".join(rows))
    litter(random, folder)
    return Table(kind="table", path=folder)


def parquet(random: random.Random, folder: Path) -> Any:
    columns: dict[str, Any] = {
        "case_id": pa.array(["a", "b", "c"]),
        "label_id": pa.array(["L", None, "L"]),
        "text": pa.array([CANARY] * 3),
        "age_years": pa.array([1.0, None, 3.0]),
    }
    odd = [
        pa.array([1, 2, None]),
        pa.array([float("inf"), float("nan"), -1e308]),
        pa.array([b"\xff", b"x", None]),
        pa.array([10**6, -(10**6), None], pa.int32()).cast(pa.date32()),
        pa.array([2**62, 0, None], pa.timestamp("us")),
        pa.array([[{"id": "HP:1"}], None, []]),
        pa.array([{"a": 1}, None, {"a": 2}]),
        pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff\xfe", b"x", b"y"]).buffers()),  # no UTF-8
        pa.array(["x" * 10_000, "$x^$", "\0"]),
        pa.array(["P3Y", "", "-1"]).dictionary_encode(),
        pa.nulls(3),
    ]
    for _ in range(random.randrange(3)):
        columns[random.choice([*Case.model_fields, "unknown"])] = random.choice(odd)
    for _ in range(2):
        data = io.BytesIO()
        pq.write_table(pa.table(columns), data, row_group_size=2, use_dictionary=False)
        put(random, folder, ".parquet", torn(random, data.getvalue()))
    litter(random, folder)
    return Table(kind="table", path=folder)


def text_table(random: random.Random, header: list[str], rows: list[list[str]], delimiter: str) -> bytes:
    cells = [header, *rows]
    for _ in range(random.randrange(4)):
        row = random.choice(cells[random.random() < 0.9 :])
        odd = [str(each) for each in ODD] + ['"', 'a"b', "\udce9", delimiter, "\r", "0x1F", "1,5", "12.0"]
        row[random.randrange(len(row))] = random.choice(odd)
    return "\n".join(delimiter.join(row) for row in cells).encode(
        "utf-8", "surrogatepass" if random.random() < 0.5 else "replace"
    )


def gmdb(random: random.Random, folder: Path) -> Any:
    (folder / "gmdb_crops").mkdir()
    rows = [patient(i) for i in range(6)]
    metadata = [[row.get(name, "") for name in COLUMNS] for row in rows]
    (folder / "image_metadata_v1.0.9.tsv").write_bytes(torn(random, text_table(random, [*COLUMNS], metadata, "\t")))
    for part, ids in {"gallery": range(4), "test": range(4, 6)}.items():
        table = text_table(random, ["image_id", "split"], [[str(i), "1"] for i in ids], ",")
        (folder / f"gmdb_frequent_{part}_images_v1.0.9.csv").write_bytes(torn(random, table))
    for i in range(6):
        (folder / "gmdb_crops" / f"{i}_aligned.jpg").write_bytes(torn(random, encoded(form="JPEG")))
    litter(random, folder)
    return Gmdb(kind="gmdb", folder=folder)


def picture(random: random.Random) -> tuple[str, bytes]:
    form = random.choice(["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
    mode = random.choice(["RGB", "RGB", "L", "1", "P", "RGBA", "CMYK", "I;16"])
    size = random.choice([(40, 40), (40, 40), (4, 40), (400, 20)])
    data = io.BytesIO()
    try:
        Image.effect_noise(size, 60).convert("RGB").convert(mode).save(data, form)
    except (OSError, ValueError):
        data.write(encoded())
    return f".{form.lower()}", torn(random, data.getvalue())


def images(random: random.Random, folder: Path) -> Any:
    for label in ("Breast", "²", "$x^$"):
        (folder / label).mkdir()
        for _ in range(2):
            put(random, folder / label, *picture(random))
    litter(random, folder)
    litter(random, folder / "Breast")
    return ImageFolder(kind="image_folder", path=folder, names=random.choice(["as_written", "pannuke"]))


def image_table(random: random.Random, folder: Path) -> Any:
    rows = [[f"{i}.png", "L", f"p{i}"] for i in range(4)]
    for path, *_ in rows:
        (folder / path).write_bytes(torn(random, encoded()))
    (folder / "labels.csv").write_bytes(torn(random, text_table(random, ["path", "label", "patient"], rows, ",")))
    litter(random, folder)
    return ImageFolder(kind="image_folder", path=folder, table="labels.csv")


def pannuke(random: random.Random, folder: Path) -> Any:
    part = folder / "images" / "fold1"
    part.mkdir(parents=True)
    number = random.choice([0, *[2] * 9])
    shape = random.choice([*[(256, 256, 3)] * 9, (3, 256, 256), (256, 256)])
    kind = random.choice(["u1", "u1", "<f8", ">f4", "<f8", ">f4", "i4", "b1", "c8"])
    names = ["Breast", random.choice(["Colon", "Brest", "", "²", "\ud800", "x" * 999, "Brain"])][:number]
    types = random.choice(
        [
            lambda: np.array(names),
            lambda: np.array(names),
            lambda: np.array([n.encode("utf-8", "replace") for n in names]),
        ]
    )
    others = [lambda: np.array([names]), lambda: np.array([1, 2]), lambda: np.array(["Breast"])]
    write = random.choice([*[np.save] * 9, np.savez])
    with (part / "images.npy").open("wb") as file:
        write(file, (np.ones((number, *shape)) * 99).astype(kind))
    with (part / "types.npy").open("wb") as file:
        np.save(file, random.choice([*[types] * 9, *others])())
    for name in ("images.npy", "types.npy"):
        if random.random() < 0.3:
            (part / name).write_bytes(torn(random, (part / name).read_bytes()))
    litter(random, folder)
    return PanNuke(kind="pannuke", folder=folder, folds={1: "train"})


def account(corpus: Any) -> tuple[int, int]:
    """Cases and refusals of a source, each told by its own record; files add up, and every one that is read is told."""
    corpus.labels()
    rows = corpus.outcomes(0).take_all()
    cases = [Case.model_validate(row["case"]) for row in rows if row["case"]]
    refusals = [Refusal.model_validate(row["refusal"]) for row in rows if row["refusal"]]
    assert len(cases) + len(refusals) == len(rows)
    assert CANARY not in str([refusal.model_dump() | {"case_id": None} for refusal in refusals])
    assert all(r.source and r.reason for r in refusals)
    inventory = corpus.inventory()
    figures = inventory.figures({r.source for r in refusals if r.row is None})
    assert figures["in"] == figures["read"] + figures["refused"] + figures["left_out"]
    return len(cases), len(refusals)


KINDS: dict[str, Callable[[random.Random, Path], Any]] = {
    f.__name__: f for f in (packets, lines, parquet, gmdb, images, image_table, pannuke)
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_no_spoilt_source_ends_in_an_exception_or_loses_a_row(tmp_path, here, kind):
    cases = refusals = whole = 0
    for seed in range(SOURCES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        corpus = KINDS[kind](random.Random(f"{kind}{seed}"), folder)
        try:
            found = account(corpus)
            cases, refusals = cases + found[0], refusals + found[1]
        except CorpusError as error:  # of the source as a whole, in one line that tells no patient's words
            assert CANARY not in str(error) and str(error).startswith(str(folder))
            whole += 1
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}: {type(error).__name__}") from error
    print(f"{kind}: {SOURCES} sources, {cases} cases, {refusals} refusals, {whole} refused as a whole")
    assert cases and refusals and whole < SOURCES


def test_the_shown_form_of_a_text_never_breaks_a_line():
    assert "\n" not in "".join(shown(str(value)) for value in ODD)
