"""GMDB, the GestaltMatcher Database, as its tables of version 1.0.9 come (https://db.gestaltmatcher.org).

    <folder>/image_metadata_v1.0.9.tsv
    <folder>/gmdb_{frequent,rare}_{gallery,test}_images_v1.0.9.csv     of the rare ones, split 1 is used
    <folder>/gmdb_crops/<image_id>_aligned.jpg

One photograph is one case. Gallery images are training cases and test images test cases, as published.
`group_id` is the column `patient_id`; where the table lacks it, each image is a group of its own. Read as
GestaltMML reads it: a missing sub-category of ethnicity is `European` where the category says so. What is
refused, by reason, beside the reasons of `mint_ray.corpora.images`:

| reason               | when                                                          |
|----------------------|---------------------------------------------------------------|
| `no-metadata`        | an image of the split tables has no row in the metadata table |
| `malformed-id`       | `image_id` is no plain name                                   |
| `no-diagnosis`       | `internal_syndrome_id` is empty                               |
| `no-photograph`      | there is no file for the image                                |
| `two-metadata-rows`  | the metadata table has several rows of the image that differ  |
| `malformed-row`      | a line has more fields than columns, or an open quote         |
| `wrong-field`        | a field is no UTF-8                                           |
| `label-outside-list` | the syndrome is not in `label_list`                           |

HPO ids that the ontology does not know are left out; ages that are no number, or above 150 years, are none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mint_ray.corpora.base import Corpus
from mint_ray.corpora.delimited import delimited_rows
from mint_ray.corpora.images import MAX_BYTES, check_image
from mint_ray.corpora.inventory import Inventory, Verdict, ending_of, survey
from mint_ray.corpora.label_ids import check_list, is_name
from mint_ray.corpora.phenopackets import known_phenotypes, sex_of
from mint_ray.corpora.reading import Row, bytes_below, parsed, place_of, problem_of, refusal, row_dataset
from mint_ray.errors import CorpusError, RowError
from mint_ray.records import MAX_YEARS, Case, Phenotype, Refusal
from mint_ray.storage import Location, files_in, opened, remote
from mint_ray.tasks.base import Label

if TYPE_CHECKING:
    import ray.data

VERSION = "1.0.9"
METADATA = f"image_metadata_v{VERSION}.tsv"
CROPS, CROP = "gmdb_crops", "_aligned.jpg"
PARTS = {"gallery": "train", "test": "test"}
REQUIRED = ("image_id", "internal_syndrome_id", "internal_syndrome_name")
USED = (
    *REQUIRED,
    *("patient_id", "disorder_names", "present_features", "absent_features", "age_year", "age_month", "gender"),
    *("ethnicity_category", "ethnicity_sub_category"),
)
_TWO_ROWS = RowError("two-metadata-rows", "image_id", "rows that differ", f"one row of {METADATA} an image")


class Gmdb(Corpus):
    """Photographed patients of GMDB: the `frequent` or the `rare` set."""

    folder: Location
    set: Literal["frequent", "rare"] = "frequent"
    label_list: Location | None = Field(
        default=None,
        description="GestaltMML's disease_dict.json ({internal_syndrome_id: name}); None: the set's syndromes",
    )

    def labels(self) -> list[Label]:
        metadata = self._metadata()
        names: dict[str, list[str]] = read_label_list(self.label_list) if self.label_list else {}
        wanted = {row["image_id"] for row in self._images()}
        for image_id, row in metadata.items():
            syndrome = row["internal_syndrome_id"]
            if syndrome in names or (not self.label_list and syndrome and image_id in wanted):
                names.setdefault(syndrome, []).append(row["internal_syndrome_name"])
                names[syndrome] += row.get("disorder_names", "").split(";")
        return [label_of(syndrome, names[syndrome]) for syndrome in sorted(names, key=_by_number)]

    def label_count(self) -> int | None:
        if self.label_list is None or remote(self.label_list) or not self.label_list.exists():
            return None  # a store is not asked before the settings are known to be right
        return len(read_label_list(self.label_list))

    def inventory(self) -> Inventory:
        images = {row["image_id"] for row in self._images()}
        tables = {METADATA, *(path.name for path in self._tables())}

        def judge(name: str) -> Verdict:
            crop = name.removeprefix(f"{CROPS}/").removesuffix(CROP) if name.startswith(f"{CROPS}/") else None
            if name in tables or crop in images or self.folder / name == self.label_list:
                return None
            return f"{ending_of(name)}: no row of the {self.set} set names it"

        return survey(self.folder, self.folder, judge)[1]

    def outcomes(self, seed: int) -> ray.data.Dataset:
        rows = list(self.rows())
        if not rows:
            raise CorpusError(f"{self.folder}: the {self.set} split tables hold no images")
        return parsed(row_dataset(rows), self.reader())

    def reader(self) -> Callable[[Row], Case | Refusal]:
        """What makes an outcome of each of `rows`."""
        listed = frozenset(read_label_list(self.label_list)) if self.label_list else None
        return partial(read_row, crops=self.folder / CROPS, listed=listed)

    def rows(self) -> Iterator[Row]:
        """The images of the set, each with its metadata, in the order of the split tables."""
        metadata = self._metadata()
        for image in self._images():
            found = metadata.get(image["image_id"], {})
            columns = {name: found.get(name, "") for name in USED} | {"image_id": image["image_id"]}
            place = {name: image[name] for name in ("source", "row", "split")} | {"case_id": image["image_id"]}
            yield {**columns, **place, "known": bool(found), "problem": image["problem"] or found.get("problem", "")}

    def _metadata(self) -> dict[str, Row]:
        """The row of each image; of images with several that differ, one that says so."""
        found: dict[str, Row] = {}
        for row in _table(self.folder / METADATA, REQUIRED, "\t"):
            before = found.setdefault(row["image_id"], row)
            if any(before.get(name) != row.get(name) for name in USED):
                before["problem"] = problem_of(_TWO_ROWS)
        return found

    def _tables(self) -> Iterator[Path]:
        for part in PARTS:
            yield self.folder / f"gmdb_{self.set}_{part}_images_v{VERSION}.csv"

    def _images(self) -> Iterator[Row]:
        """The rows of the split tables that are of the set."""
        for path, split in zip(self._tables(), PARTS.values(), strict=True):
            for row in _table(path, ("image_id",), ","):
                if self.set == "frequent" or row.get("split") == "1" or row["problem"]:
                    yield {**row, "source": path.name, "split": split}


def _table(path: Path, required: tuple[str, ...], delimiter: str) -> Iterator[Row]:
    """The rows of a table; ids as `12`, never `12.0`.

    Raises:
        CorpusError: it cannot be read; of what other version the folder holds one.
    """
    if others := [] if path.exists() else files_in(path.parent, re.sub(r"_v[0-9.]+\.", "_v*.", path.name)):
        raise CorpusError(f"{path}: is not there, but {others[0].name}: this reader knows version {VERSION} alone")
    for row in delimited_rows(path, required, delimiter):
        yield {n: v.removesuffix(".0") if n.endswith("_id") else v for n, v in row.items()}


def read_label_list(path: Path) -> dict[str, list[str]]:
    """Syndrome ids and names of GestaltMML's label list.

    Raises:
        CorpusError: the file is not of the form `{"0": "Cornelia de Lange syndrome", ...}`.
    """
    try:
        with opened(path) as file:
            listed = json.loads(file.read())
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: is no label list ({type(error).__name__})") from None
    if not (isinstance(listed, dict) and listed and all(isinstance(name, str) for name in listed.values())):
        raise CorpusError(f"{path}: is no label list; expected {{internal_syndrome_id: name, ...}}")
    check_list([Label(id=syndrome, name=name) for syndrome, name in listed.items()], path)
    return {syndrome: [name] for syndrome, name in listed.items()}


def label_of(syndrome: str, names: list[str]) -> Label:
    """The label of a syndrome by its names, the first before its semicolon; the others are synonyms, also as written."""
    parts = [
        (name.strip(), [part.strip() for part in name.split(";") if part.strip()]) for name in filter(is_name, names)
    ]
    found = [text for whole, single in parts for text in (single if len(single) < 2 else [*single, whole])]
    name, *synonyms = dict.fromkeys(found or [syndrome])
    return Label(id=f"GMDB:{syndrome}", name=name, synonyms=tuple(synonyms))


def read_row(row: Row, crops: Path, listed: frozenset[str] | None = None) -> Case | Refusal:
    """A row with its metadata to a case with its photograph, or to the reason why it is none."""
    try:
        return _case(row, crops, listed)
    except RowError as error:
        return refusal(row, error, row["image_id"])


def _case(row: Row, crops: Path, listed: frozenset[str] | None) -> Case:
    syndrome = row["internal_syndrome_id"]
    if not row["known"]:
        raise RowError("no-metadata", "image_id", "no row", f"a row of {METADATA}")
    if not syndrome:
        raise RowError("no-diagnosis", "internal_syndrome_id", "nothing", "a syndrome's id")
    if listed is not None and syndrome not in listed:
        raise RowError(
            "label-outside-list", "internal_syndrome_id", syndrome, f"one of the list's {len(listed)} labels"
        )
    return Case(
        case_id=row["image_id"],
        group_id=row["patient_id"] or row["image_id"],
        split=row["split"],
        label_id=f"GMDB:{syndrome}",
        label_name=label_of(syndrome, [row["internal_syndrome_name"]]).name,
        image=photograph(crops, row["image_id"]),
        phenotypes=phenotypes_of(row),
        sex=sex_of(row["gender"]),
        age_years=age_of(row["age_year"], row["age_month"]),
        ethnicity=ethnicity_of(row["ethnicity_category"], row["ethnicity_sub_category"]),
        source=place_of(row),
    )


def photograph(crops: Path, image_id: str) -> bytes:
    """The checked bytes of an image's aligned crop."""
    if not re.fullmatch(r"[\w-]+", image_id):
        raise RowError("malformed-id", "image_id", "other characters", "letters, digits, - and _")
    name = f"{image_id}{CROP}"
    return check_image(bytes_below(crops, name, MAX_BYTES, name, "no-photograph"), name)


def phenotypes_of(row: Row) -> list[Phenotype]:
    """The features noted as present, and those noted as absent, under their living terms."""
    present, absent = (re.findall(r"HP:\d{7}", row[name]) for name in ("present_features", "absent_features"))
    return known_phenotypes(dict.fromkeys(present, False) | {i: True for i in absent if i not in present})


def age_of(years: str, months: str) -> float | None:
    """Years and months, either of which may be empty, in years."""
    parts = [_number(years), _number(months)]
    age = (parts[0] or 0) + (parts[1] or 0) / 12
    return None if parts == [None, None] or age > MAX_YEARS else age


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,9})?", text) else None


def ethnicity_of(category: str, sub_category: str) -> str | None:
    """The sub-category, else the European category, as GestaltMML fills it in; unknown is None."""
    if sub_category.lower() not in ("", "unknown"):
        return sub_category
    return category if category == "European" else None


def _by_number(syndrome: str) -> tuple[bool, int, str]:
    number = re.fullmatch("[0-9]{1,9}", syndrome)
    return (number is None, int(syndrome) if number else 0, syndrome)
