"""What holds for every reader: nothing that one row does stops a corpus, tells its words, or goes uncounted."""

import gzip
import io
import json
import lzma
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mint_ray.corpora import gmdb, image_folder, pannuke, phenopackets, reading, table
from mint_ray.corpora.base import outcome_table
from mint_ray.corpora.gmdb import Gmdb
from mint_ray.corpora.image_folder import ImageFolder
from mint_ray.corpora.inventory import shown
from mint_ray.corpora.pannuke import PanNuke
from mint_ray.corpora.phenopackets import Phenopackets
from mint_ray.corpora.reading import json_object, outcomes_of, range_outcomes, range_unit, text_source
from mint_ray.corpora.table import Table
from mint_ray.errors import RowError, StorageError
from mint_ray.records import Case, Refusal
from tests.corpora.here import outcomes, told
from tests.corpora.test_gmdb import database, patient
from tests.corpora.test_image_folder import encoded
from tests.corpora.test_pannuke import write_fold
from tests.corpora.test_phenopackets import packet

CANARY = "Jane Doe of Springfield"


def sources(folder):
    """A small good source for each reader: the corpus, its rows, the function in the middle of it."""
    (folder / "p").mkdir()
    for i in range(3):
        (folder / "p" / f"{i}.json").write_text(json.dumps(packet(id=f"p{i}")))
    yield Phenopackets(kind="phenopackets", path=folder / "p"), 3, (phenopackets, "sex_of")
    (folder / "cases.jsonl").write_text("".join(f'{{"case_id": "{i}", "label_id": "L"}}\n' for i in range(3)))
    yield Table(kind="table", path=folder / "cases.jsonl"), 3, (table, "place_of")
    pq.write_table(
        pa.table({"case_id": ["a", "b", "c"], "label_id": ["L"] * 3}), folder / "c.parquet", row_group_size=2
    )
    yield Table(kind="table", path=folder / "c.parquet"), 3, (table, "place_of")
    rows = [patient(i) for i in range(3)]
    yield Gmdb(kind="gmdb", folder=database(folder / "g", rows[:2], rows[2:])), 3, (gmdb, "age_of")
    (folder / "i" / "L").mkdir(parents=True)
    for i in range(3):
        (folder / "i" / "L" / f"{i}.png").write_bytes(encoded())
    yield ImageFolder(kind="image_folder", path=folder / "i"), 3, (image_folder, "_is_grey")
    write_fold(folder / "n", 1, ["Breast"] * 3, np.uint8)
    yield PanNuke(kind="pannuke", folder=folder / "n", folds={1: "train"}), 3, (pannuke, "encode_patch")


READERS = ["phenopackets", "lines", "parquet", "gmdb", "image_folder", "pannuke"]


@pytest.mark.parametrize("number", range(len(READERS)), ids=READERS)
@pytest.mark.parametrize("error", [KeyError(CANARY), ZeroDivisionError(CANARY), RecursionError(CANARY)])
def test_whatever_a_reader_raises_in_the_middle_is_a_refusal_of_its_row_by_type_alone(
    tmp_path, monkeypatch, here, number, error
):
    corpus, count, (module, name) = list(sources(tmp_path))[number]
    assert [r["refusal"] for r in outcomes(corpus)] == [None] * count
    before, calls = getattr(module, name), iter(range(100))

    def second_time(*arguments):
        if next(calls) == 1:
            raise error
        return before(*arguments)

    monkeypatch.setattr(module, name, second_time)
    found = outcomes(corpus)
    (refused,) = [r["refusal"] for r in found if r["refusal"]]
    assert len(found) == count
    assert (refused["reason"], refused["field"]) == ("reader-failed", "row")
    assert refused["source"] and refused["seen"].startswith(type(error).__name__)
    assert CANARY not in str(found)


def test_what_a_store_refuses_ends_the_stage_and_refuses_no_row():
    def refuse(row):
        raise StorageError("s3://b: no such bucket")

    with pytest.raises(StorageError):
        outcomes_of({"source": "x", "row": 1}, refuse)


def test_a_range_that_breaks_off_refuses_each_row_that_is_left():
    def read(unit):
        yield Case(case_id="a", group_id="a")
        raise OSError(CANARY)

    made = list(range_outcomes(range_unit("x.parquet", 5, 3, part="row group 2"), read))
    assert [type(m) for m in made] == [Case, Refusal, Refusal]
    assert [(m.row, m.reason, m.field, m.seen) for m in made[1:]] == [
        (6, "unreadable-file", "row group 2", "OSError"),
        (7, "unreadable-file", "row group 2", "OSError"),
    ]


def test_a_range_that_ends_early_refuses_what_is_missing():
    made = list(range_outcomes(range_unit("x", 1, 2), lambda unit: iter([Case(case_id="a", group_id="a")])))
    assert (made[1].row, made[1].seen) == (2, "1 of 2 rows")


def test_a_value_that_arrow_cannot_hold_costs_its_row_alone():
    bad = Case.model_construct(**dict(Case(case_id="b", group_id="g")) | {"text": "\ud800"})
    rows = outcome_table([Case(case_id="a", group_id="g"), bad, Case(case_id="c", group_id="g")]).to_pylist()
    assert [r["case"] and r["case"]["case_id"] for r in rows] == ["a", None, "c"]
    refused = rows[1]["refusal"]
    assert (refused["reason"], refused["field"], refused["case_id"]) == ("wrong-field", "text", "b")


def test_a_refusal_can_be_written_whatever_names_it_holds():
    error = RowError("wrong-field", "\ud800", "x" * 9000, "\n")
    made = reading.refusal({"source": "caf\udce9\n.json", "row": None}, error, "\ud800" * 999)
    outcome_table([made])
    assert (made.source, made.field, made.expected) == (r"caf\udce9\n.json", r"\ud800", r"\n")
    assert len(made.seen) <= 500 and len(made.case_id) <= 200


def test_a_text_is_shown_in_one_line_of_unicode():
    assert shown("é ü\x00\r\n‮") == r"é ü\x00\r\n\u202e"


def texts(path) -> list[tuple]:
    """Place, and the text or the reason why there is none."""
    units, _ = text_source(path)
    rows = [row for unit in units for block in reading._read_texts(unit) for row in block.to_pylist()]
    return [(r["source"], r["row"], r["text"] or json.loads(r["problem"])[0]) for r in rows]


def test_a_document_or_line_that_unpacks_without_bound_is_refused_without_being_held(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_TEXT", 1000)
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as file:
        file.write(b"first\n" + b" " * 5_000_000 + b"\n" + b"x" * 1000 + b"\nlast")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b"x" * 5_000_000))
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.json", b"x" * 5_000_000)
        archive.writestr("d.json", b"good")
    name = tmp_path.name
    assert texts(tmp_path) == [
        (f"{name}/b.json.gz", None, "text-too-large"),
        (f"{name}/a.jsonl.gz", 1, b"first\n"),
        (f"{name}/a.jsonl.gz", 2, "text-too-large"),
        (f"{name}/a.jsonl.gz", 3, b"x" * 1000 + b"\n"),
        (f"{name}/a.jsonl.gz", 4, b"last"),
        (f"{name}/c.zip!c.json", None, "text-too-large"),
        (f"{name}/c.zip!d.json", None, b"good"),
    ]


def test_memory_for_a_line_without_end_stays_by_its_bound(tmp_path):
    import tracemalloc

    with gzip.open(tmp_path / "a.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(bytes(2**20))
    tracemalloc.start()
    assert [reason for *_, reason in texts(tmp_path)] == ["text-too-large"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * reading.MAX_TEXT


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_both_read(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x.json", b"one"), ("x.json", b"two")])
    assert texts(path) == [("a.zip!x.json", None, b"one"), ("a.zip!x.json", None, b"two")]


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_costs_itself_alone_whatever_it_is_packed_with(tmp_path, method):
    noise = np.random.default_rng(0).bytes(4000)
    path = zipped(tmp_path / "a.zip", [("a.json", noise), ("b.json", b"good")], method)
    whole = bytearray(path.read_bytes())
    whole[200:260] = bytes(60)
    path.write_bytes(whole)
    assert texts(path) == [("a.zip!a.json", None, "unreadable-file"), ("a.zip!b.json", None, b"good")]


def test_an_encrypted_member_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", [("a.json", b"x"), ("b.json", b"good")], zipfile.ZIP_STORED)
    whole = bytearray(path.read_bytes())
    whole[6] |= 1  # the flag in the local header and in the directory
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(whole)
    assert texts(path) == [("a.zip!a.json", None, "unreadable-file"), ("a.zip!b.json", None, b"good")]


def test_an_archive_that_cannot_be_opened_costs_itself_alone(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 no archive")
    path = zipped(tmp_path / "odd.zip", [("é.json", b"x")])
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))  # flagged UTF-8, and is none
    (tmp_path / "good.json").write_bytes(b"good")
    assert {reason for *_, reason in texts(tmp_path)} == {"unreadable-file", b"good"}
    assert len(texts(tmp_path)) == 3


def test_lzma_errors_are_no_os_errors():
    """Why readers catch whatever a decoder raises, and not a list of kinds."""
    assert not issubclass(lzma.LZMAError, OSError)


@pytest.mark.parametrize("name", ["a.yml", "a.yaml", "a.YML", "a.yml.gz", "z.zip!a.yaml"])
def test_yaml_is_read_by_its_ending_with_the_types_of_json(name):
    text = b"id: p\nwhen: 2021-01-01\nsex: no\nn: 12\nx: 1.5\nnone: ~\nsame: &s [1]\nagain: *s\n"
    text += b"one: &o {a: 1, b: no}\nother:\n  <<: *o\n  a: 2\n"
    assert json_object({"source": name, "row": None, "text": text, "problem": ""}) == {
        "id": "p",
        "when": "2021-01-01",
        "sex": "no",
        "n": 12,
        "x": 1.5,
        "none": None,
        "same": [1],
        "again": [1],
        "one": {"a": 1, "b": "no"},
        "other": {"a": 2, "b": "no"},
    }


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 9)) for c in range(ord("a"), ord("n"))
)


@pytest.mark.parametrize(
    "text",
    [
        *(BOMB, b"a: &a [*a]", b"a: *b", b"!!python/object/apply:os.system [ls]", b"a: !!timestamp 2020-01-01"),
        *(
            b"a: 1\n---\na: 2",
            b"[" * 300,
            b"{" * 300,
            b"\xff\xfe\x00",
            b"a: " + b"9" * 5000,
            b"? [a]\n: 1",
            b"",
            b"- 1",
        ),
        *(
            b'a: "\\ud800"',
            b"\ta: 1",
            b"a: [1",
            b"a: 1\na: 2",
            b"a: {b: 1, b: 1}",
            b"%YAML 9.9\n---\na: 1",
            b"a: !!binary eA==",
        ),
    ],
)
def test_yaml_that_is_no_plain_object_is_refused(text):
    with pytest.raises(RowError, match="no-yaml"):
        json_object({"source": "a.yml", "row": None, "text": text, "problem": ""})


def test_a_value_of_yaml_is_never_told():
    for text in (
        f"a: [{CANARY}",
        f"a: *{CANARY}",
        f"{CANARY}: 1\n{CANARY}: 2",
        f"a: !<{CANARY}> 1",
        f'a: "\\q{CANARY}"',
    ):
        with pytest.raises(RowError, match=r"no-yaml: .*no YAML at line [12]") as error:
            json_object({"source": "a.yml", "row": None, "text": text.encode(), "problem": ""})
        assert "Jane" not in str(error.value)


def test_rows_of_a_file_that_breaks_off_come_before_its_one_refusal(tmp_path):
    whole = gzip.compress("".join(f"{i}\n" for i in range(40_000)).encode(), compresslevel=0)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    found = texts(tmp_path / "cut.jsonl.gz")
    assert [reason for *_, reason in found if isinstance(reason, str)] == ["unreadable-file"]
    assert found[-1][1] == len(found) > 15_000


def test_a_stream_without_a_limit_of_its_own_is_read_line_by_line():
    class OfAStore(io.RawIOBase):  # fsspec's files have readline() without a size
        def __init__(self, data):
            self.data = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.data.readinto(buffer)

        def readline(self):
            raise AssertionError

    assert list(reading._lines(OfAStore(b"a\nb"))) == [b"a\n", b"b"]


def test_two_outcomes_of_one_row_are_both_kept():
    cases = [Case(case_id=name, group_id="g") for name in "ab"]
    assert outcomes_of({"source": "cohort.json", "row": None}, lambda row: cases) == cases


def test_texts_of_every_ending_are_packets(tmp_path, here):
    text = json.dumps(packet(id="p")).encode()
    for name in ("a.json", "b.JSON", "c.yml", "d.yaml"):
        (tmp_path / name).write_bytes(text)
    for name in ("e.json.gz", "f.yml.GZ", "g.jsonl.gz", "h.ndjson.gz"):
        (tmp_path / name).write_bytes(gzip.compress(text))
    (tmp_path / "i.ndjson").write_bytes(text)
    zipped(tmp_path / "j.zip", [("k.yml.gz", gzip.compress(text)), ("l.jsonl", text + b"\n" + text)])
    found = told(Phenopackets(kind="phenopackets", path=tmp_path))
    assert [case for *_, case in found] == ["p"] * 12
