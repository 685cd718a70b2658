"""Inputs that public tools write, and that went wrong once: each through the first stage, with what is right.

All patients are invented. Ray Data's verbs run in this process (tests/corpora/here.py). The folder `cases` beside the real
data holds the files that were reported; where it is missing, the equal ones made here say the same.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pytest
from PIL import Image

from mint_ray.corpora.image_folder import ImageFolder
from mint_ray.corpora.phenopackets import Phenopackets
from mint_ray.corpora.prepare import prepare_cases
from mint_ray.corpora.store import case_table, run_labels
from mint_ray.corpora.table import Table
from mint_ray.reports.pheval import file_stems
from mint_ray.runs import Run
from mint_ray.tasks.genes import Genes
from mint_ray.tasks.rare_disease import RareDisease
from mint_ray.tasks.tissue import Tissue
from tests.conftest import REAL_DATA
from tests.corpora.here import here
from tests.tiny_run import tiny_config

__all__ = ["here"]

CASES = REAL_DATA.parent / "cases"
SEIZURE, HYPOTONIA, MICROCEPHALY = "HP:0001250", "HP:0001252", "HP:0000252"
KABUKI = {"id": "OMIM:147920", "label": "Kabuki syndrome 1"}
OTHERS = [
    {"id": "OMIM:105830", "label": "Angelman syndrome"},
    {"id": "OMIM:276900", "label": "Usher syndrome, type 1B"},
]


def finding(term: str, **more) -> dict:
    return {"type": {"id": term, "label": "as it is called"}} | more


def meta(version: str, *references: dict) -> dict:
    return {"phenopacketSchemaVersion": version, "externalReferences": list(references)}


def packet(packet_id: str, **fields) -> dict:
    return {
        "id": packet_id,
        "phenotypicFeatures": [finding(SEIZURE), finding(MICROCEPHALY, excluded=True)],
        "diseases": [{"term": KABUKI}],
        "metaData": meta("2.0"),
    } | fields


def with_gene(packet_id: str, gene_id: str, symbol: str, status: str = "CAUSATIVE", progress: str = "SOLVED") -> dict:
    variant = {"variationDescriptor": {"id": "v", "geneContext": {"valueId": gene_id, "symbol": symbol}}}
    genomic = {"interpretationStatus": status, "variantInterpretation": variant}
    diagnosis = {"disease": KABUKI, "genomicInterpretations": [genomic]}
    return packet(packet_id, diseases=None, interpretations=[{"progressStatus": progress, "diagnosis": diagnosis}])


class Prepared:
    """What the first stage made of a source."""

    def __init__(self, folder: Path, corpus, task):
        settings = {"preferences": {"chosen": 1, "rejected": 1, "cut": 1}, "splits": {"validation": 0.1}}
        run = Run(tiny_config(folder / "run", corpus=corpus, task=task, **settings))
        run.carry_out("cases", prepare_cases)
        stage = run.stage("cases")
        self.manifest = stage.manifest
        self.files = self.manifest["figures"].get("files")
        self.cases = {row["case_id"]: row for row in case_table(run).to_pylist()}
        self.labels = {label.id: label for label in run_labels(run)}
        refused = stage.path / "refused"
        rows = pyarrow.dataset.dataset(refused).to_table().to_pylist() if refused.exists() else []
        self.refused = {row["source"]: row for row in rows}


@pytest.fixture
def prepared(tmp_path, here):
    """A function from packets by file name to what the stage makes of them, among others that make a corpus whole."""

    def prepare(files: dict[str, dict | bytes | Path], label: str = "disease") -> Prepared:
        folder = tmp_path / "packets"
        folder.mkdir()
        for n in range(8):
            if label == "gene":
                other = with_gene(f"other{n}", f"HGNC:{n % 2 + 1}", f"GENE{n % 2 + 1}")
            else:
                other = packet(f"other{n}", diseases=[{"term": OTHERS[n % 2]}])
            files = files | {f"other{n}.json": other}
        for name, held in files.items():
            data = held.read_bytes() if isinstance(held, Path) else held
            (folder / name).write_bytes(json.dumps(data).encode() if isinstance(data, dict) else data)
        task = (
            Genes(kind="genes", answer_size=1) if label == "gene" else RareDisease(kind="rare_disease", answer_size=1)
        )
        made = Prepared(tmp_path, Phenopackets(kind="phenopackets", path=folder, label=label), task)
        assert made.files["in"] == len(files) == sum(made.files[what] for what in ("read", "refused", "left_out"))
        return made

    return prepare


def reported(name: str) -> Path:
    if not (CASES / name).exists():
        pytest.skip(f"no reported case at {CASES / name}")
    return CASES / name


def findings(case: dict) -> dict[str, bool]:
    return {p["id"]: p["excluded"] for p in case["phenotypes"]}


# Schema 1.0 ------------------------------------------------------------------------------------------------------

OF_1_0 = {
    "id": "old",
    "subject": {"id": "s", "ageAtCollection": {"age": "P9Y"}, "sex": "FEMALE"},
    "phenotypicFeatures": [finding(SEIZURE), finding(HYPOTONIA), finding(MICROCEPHALY, negated=True)],
    "diseases": [{"term": KABUKI}],
    "metaData": meta("1.0.0", {"id": "PMID:2001"}),
}


def test_a_packet_of_schema_1_0_is_read_as_that(prepared):
    case = prepared({"old.json": OF_1_0}).cases["old"]
    assert findings(case) == {SEIZURE: False, HYPOTONIA: False, MICROCEPHALY: True}
    assert (case["age_years"], case["sex"], case["group_id"]) == (9, "female", "PMID:2001")


def test_the_reported_packet_of_schema_1_0(prepared):
    case = prepared({"v1_negated.json": reported("v1_negated.json")}).cases["v1-1"]
    assert (sum(findings(case).values()), case["age_years"]) == (3, 9)


# Formats ---------------------------------------------------------------------------------------------------------

YAML = b"""id: yaml
phenotypicFeatures:
- type: {id: 'HP:0001250'}
- {type: {id: 'HP:0000252'}, excluded: true}
diseases:
- term: {id: OMIM:147920, label: Kabuki syndrome 1}
metaData: {created: 2026-01-01T00:00:00Z, phenopacketSchemaVersion: 2.0}
"""


def test_yaml_and_gzip_are_read_and_protobuf_is_refused_by_name(prepared):
    made = prepared(
        {
            "a.yml": YAML,
            "b.yaml.gz": gzip.compress(YAML.replace(b"yaml", b"zipped", 1)),
            "c.json.gz": gzip.compress(json.dumps(packet("gzip")).encode()),
            "d.pb": b"\n\x04text",
            "e.pbtxt": b'id: "text"',
            "f.txt": b"a note",
        }
    )
    assert {"yaml", "zipped", "gzip"} <= set(made.cases)
    assert findings(made.cases["yaml"]) == {SEIZURE: False, MICROCEPHALY: True}
    assert {name: row["reason"] for name, row in made.refused.items()} == {
        "packets/d.pb": "unread-format",
        "packets/e.pbtxt": "unread-format",
    }
    assert made.files["why"] == {".txt: is not read here": 1}


def test_the_reported_packet_in_yaml(prepared):
    case = prepared({"v2_packet.yml": reported("v2_packet.yml")}).cases["v2-yaml"]
    assert (findings(case), case["age_years"]) == ({SEIZURE: False, MICROCEPHALY: True}, 9)


# Messages --------------------------------------------------------------------------------------------------------


def test_of_a_family_the_proband_is_read_and_of_a_cohort_every_member(prepared):
    own = meta("2.0", {"id": "PMID:3001"})
    family = {"id": "f", "proband": packet("proband", metaData=own), "relatives": [packet("sister")], "metaData": own}
    cohort = {"id": "c", "members": [packet("m1"), packet("m2")], "metaData": meta("2.0", {"id": "PMID:3003"})}
    made = prepared({"family.json": family, "cohort.json": cohort, "fhir.json": {"resourceType": "Patient"}})
    assert made.cases["proband"]["group_id"] == "PMID:3001" and "sister" not in made.cases
    assert {made.cases[name]["group_id"] for name in ("m1", "m2")} == {"PMID:3003"}
    assert made.manifest["refused"] == {"other-message": 1}


def test_the_reported_family_and_cohort(prepared):
    names = ("v2_family.json", "v2_cohort.json")
    made = prepared({name: reported(name) for name in names})
    assert {"proband-1", "m1", "m2"} <= set(made.cases) and not made.refused


# The truth -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["REJECTED", "CANDIDATE"])
@pytest.mark.parametrize("progress", ["COMPLETED", "SOLVED", "UNKNOWN_PROGRESS"])
def test_a_rejected_diagnosis_is_no_truth(prepared, status, progress):
    made = prepared({"r.json": with_gene("r", "HGNC:7133", "KMT2D", status, progress)})
    assert made.refused["packets/r.json"]["reason"] == "no-diagnosis" and "r" not in made.cases


def test_the_reported_rejected_diagnosis(prepared):
    made = prepared({"v2_rejected.json": reported("v2_rejected.json")})
    assert made.refused["packets/v2_rejected.json"]["reason"] == "no-diagnosis"


# One publication, one gene ---------------------------------------------------------------------------------------

SPELLINGS = [
    {"id": "DOI:10.1000/xyz", "reference": "PMID:123"},
    *({"id": text} for text in ("PMID: 123", "PUBMED:123", "https://pubmed.ncbi.nlm.nih.gov/123/", "10.1000/XYZ")),
]


def test_patients_of_one_publication_are_one_group_however_it_is_written(prepared):
    made = prepared({f"{n}.json": packet(f"p{n}", metaData=meta("2.0", each)) for n, each in enumerate(SPELLINGS)})
    assert {made.cases[f"p{n}"]["group_id"] for n in range(len(SPELLINGS))} == {"PMID:123"}
    assert len({made.cases[f"p{n}"]["split"] for n in range(len(SPELLINGS))}) == 1


def test_the_reported_reference_beside_a_doi(prepared):
    made = prepared(
        {"a.json": reported("reference_doi.json"), "b.json": packet("b", metaData=meta("2.0", SPELLINGS[1]))}
    )
    assert {made.cases[name]["group_id"] for name in ("doi-reference-1", "b")} == {"PMID:123"}


def test_a_gene_is_one_label_whichever_registry_names_it_and_shared_names_are_told(prepared):
    same = [("HGNC:7606", "MYO7A"), ("ENSG00000137474", "MYO7A"), ("NCBIGene:4647", "myo7a")]
    files = {f"g{n}.json": with_gene(f"g{n}", *gene) for n, gene in enumerate(same)}
    made = prepared(files | {"x.json": with_gene("x", "HGNC:99", "gene1")}, "gene")
    assert {made.cases[f"g{n}"]["label_id"] for n in range(len(same))} == {"HGNC:7606"}
    assert made.manifest["figures"]["names_shared"]["first"] == {"gene1": ["HGNC:1", "HGNC:99"]}


def test_the_reported_gene_under_two_ids(prepared):
    made = prepared({name: reported(name) for name in ("gene_ensembl.json", "gene_hgnc.json")}, "gene")
    assert {made.cases[name]["label_id"] for name in ("g1", "g4")} == {"HGNC:7606"}


# PhEval's files --------------------------------------------------------------------------------------------------


def test_phevals_files_carry_the_name_of_the_packets_file(prepared):
    name = "Author-2020-GENE-Patient_5"
    made = prepared({f"{name}.json": packet(f"PMID:123-{name}"), "a b.json": packet("a:b"), "c.json": packet("a_b")})
    stems = file_stems({case_id: case["source"] for case_id, case in made.cases.items()}, "disease")
    assert stems[f"PMID:123-{name}"] == name
    assert (stems["a:b"], stems["a_b"]) == ("a b", "c")
    assert len(set(stems.values())) == len(made.cases)


def test_the_reported_packet_whose_file_is_not_its_id(prepared):
    name = "Author-2020-GENE-Patient_5"
    made = prepared({f"{name}.json": reported(f"{name}.json")})
    stems = file_stems({case_id: case["source"] for case_id, case in made.cases.items()}, "disease")
    assert stems[f"PMID:123-{name}"] == name


# Pictures --------------------------------------------------------------------------------------------------------


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def photographs(tmp_path: Path, pictures: dict[str, bytes]) -> Prepared:
    rows = [
        {
            "case_id": name,
            "label_id": KABUKI["id"],
            "label_name": KABUKI["label"],
            "image": base64.b64encode(data).decode(),
        }
        for name, data in pictures.items()
    ]
    rows += [
        {"case_id": f"other{n}", "label_id": OTHERS[n % 2]["id"], "label_name": OTHERS[n % 2]["label"]}
        for n in range(8)
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = RareDisease(kind="rare_disease", answer_size=1)
    return Prepared(tmp_path, Table(kind="table", path=tmp_path / "cases.jsonl"), task)


def test_photographs_of_16_bits_are_held_by_their_content(tmp_path, here):
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    made = photographs(tmp_path, {"a": png(Image.fromarray(ramp)), "b": png(Image.fromarray(ramp.T.copy()))})
    for name, values in (("a", ramp), ("b", ramp.T)):
        held = Image.open(io.BytesIO(made.cases[name]["image"]))
        assert np.array_equal(np.asarray(held), np.repeat((values >> 8)[..., None], 3, 2))


def test_the_reported_photographs_of_16_bits_are_two_pictures_and_neither_is_white(tmp_path, here):
    files = {name: reported(f"photograph_16bit_{name}.png").read_bytes() for name in "ab"}
    made = photographs(tmp_path, files)
    held = [np.asarray(Image.open(io.BytesIO(made.cases[name]["image"]))) for name in "ab"]
    assert not np.array_equal(*held) and all(each.min() < 200 for each in held)


def tiles(tmp_path: Path, files: dict[str, bytes]) -> Prepared:
    for n, name in enumerate([*files, *(f"{tissue}/{n}.png" for tissue in ("LYM", "TUM") for n in range(4))]):
        (tmp_path / "tiles" / name).parent.mkdir(parents=True, exist_ok=True)
        other = png(Image.new("RGB", (32, 32), (200, n, 90)))
        (tmp_path / "tiles" / name).write_bytes(files.get(name, other))
    corpus = ImageFolder(kind="image_folder", path=tmp_path / "tiles", group_column=None)
    return Prepared(tmp_path, corpus, Tissue(kind="tissue", answer_size=1))


def test_tiles_of_every_format_of_scanners_are_read_and_others_are_named(tmp_path, here):
    written = {}
    for ending, form in [("tif", "TIFF"), ("TIFF", "TIFF"), ("bmp", "BMP"), ("webp", "WEBP"), ("gif", "GIF")]:
        data = io.BytesIO()
        Image.new("RGB", (32, 32), (200, 10, 90)).save(data, form)
        written[f"ADI/ADI-{ending}.{ending}"] = data.getvalue()
    made = tiles(tmp_path, written)
    assert {name for name in made.cases if name.startswith("ADI")} == set(written) - {"ADI/ADI-gif.gif"}
    assert made.files["why"] == {".gif: is not read here": 1}


def test_the_reported_tile(tmp_path, here):
    made = tiles(tmp_path, {"ADI/tile.tif": reported("tile.tif").read_bytes()})
    assert Image.open(io.BytesIO(made.cases["ADI/tile.tif"]["image"])).mode == "RGB"
