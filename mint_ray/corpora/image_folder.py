"""Images on disk: a folder for each label, or a table (CSV) of path, label and patient.

Bytes stay as they are where the file is a PNG or JPEG that every decoder sees alike, whatever its size: each model's
processor resizes for itself. All else becomes a PNG in RGB (see `mint_ray.corpora.images`). What is refused, by reason,
beside the reasons there:

| reason            | when                                                                       |
|-------------------|----------------------------------------------------------------------------|
| `no-image-file`   | the table's path names no file, or one outside of the folder               |
| `missing-field`   | the path or the group is empty                                             |
| `greyscale-image` | no pixel has a colour: stains cannot be told apart                         |
| `wrong-size`      | `side` is set and the image is not that many pixels wide and high          |
| `unknown-tissue`  | with `names: pannuke`, a label that is none of its 19                      |
| `no-group`        | `group_pattern` does not match the file's name                             |
| `malformed-row`   | a line of the table has more fields than columns, or an open quote         |
| `wrong-field`     | a field is no UTF-8                                                        |
| `unreadable-name` | a file's name is no UTF-8                                                  |
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from mint_ray.corpora.base import Corpus
from mint_ray.corpora.delimited import delimited_rows
from mint_ray.corpora.images import ENDINGS, MAX_BYTES, seen_and_held
from mint_ray.corpora.inventory import Inventory, Verdict, ending_of, survey, unread
from mint_ray.corpora.reading import Row, bytes_below, parsed, place_of, problem_of, refusal, row_dataset
from mint_ray.errors import CorpusError, RowError
from mint_ray.records import Case, Refusal
from mint_ray.storage import Location, remote
from mint_ray.tasks.base import Label
from mint_ray.tasks.tissue import TISSUES, tissue

if TYPE_CHECKING:
    import ray.data
    from PIL import Image


class ImageFolder(Corpus):
    """`<path>/<label>/.../<file>`, or `table` with columns of these names.

    Without a group column or pattern each image is its own group: do so only where no two show one patient.
    """

    path: Location
    table: Path | None = Field(
        default=None, description="a CSV with a header, relative to `path`; none: a folder for each label"
    )
    path_column: str = "path"
    label_column: str = "label"
    group_column: str | None = Field(default="patient", description="the patient or slide; null: see group_pattern")
    group_pattern: str | None = Field(
        default=None, description="a regular expression; its first group in the file's name is the group"
    )
    names: Literal["as_written", "pannuke"] = Field(
        default="as_written", description="pannuke: labels are its 19 tissues"
    )
    side: int | None = Field(default=None, ge=16, description="refuse images that are not so many pixels wide and high")

    @field_validator("group_pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        if groups < 1:
            raise ValueError("has no group; put the patient's part in parentheses")
        return pattern

    def labels(self) -> list[Label] | None:
        return list(TISSUES) if self.names == "pannuke" else None

    def inventory(self) -> Inventory:
        if self.table is None:
            return survey(self.path, self.path, _judge)[1]
        named = {self._place(name) for name in (self.table, *(row["path"] for row in self._table_rows(self.table)))}

        def judge(name: str) -> Verdict:
            return None if self._place(name) in named else f"{ending_of(name)}: the table does not name it"

        return survey(self.path, self.path, judge)[1]

    def _place(self, name: str | Path) -> str:
        """Where a name leads, whether it counts from the folder or from the root, with or without `.` and `..`."""
        root = str(self.path) if remote(self.path) else os.path.abspath(self.path)
        return os.path.normpath(os.path.join(root, name))

    def outcomes(self, seed: int) -> ray.data.Dataset:
        rows = list(self._table_rows(self.table) if self.table else self._folder_rows())
        if not rows:
            told = "" if self.table else f" in a label's folder; it holds {self.inventory().told()}"
            raise CorpusError(f"{self.path / self.table if self.table else self.path}: names no image{told}")
        return parsed(row_dataset(rows), partial(read_image, corpus=self))

    def _folder_rows(self) -> Iterator[Row]:
        found, inventory = survey(self.path, self.path, _judge)
        for name, error in inventory.refused:
            yield _row(name, problem_of(error))
        for file in found:
            yield _row(file.relative_to(self.path).as_posix())

    def _table_rows(self, table: Path) -> Iterator[Row]:
        wanted = {"path": self.path_column, "label": self.label_column, "group": self.group_column}
        required = [column for column in wanted.values() if column is not None]
        for row in delimited_rows(self.path / table, required):
            fields = {name: row[column] if column else None for name, column in wanted.items()}
            yield {
                "source": table.as_posix(),
                "row": row["row"],
                "problem": row["problem"],
                "case_id": fields["path"],
                **fields,
            }


def _row(name: str, problem: str = "") -> Row:
    """A row of a folder for each label."""
    label = Path(name).parts[0]
    return {
        "source": name,
        "row": None,
        "problem": problem,
        "case_id": name,
        "path": name,
        "label": label,
        "group": None,
    }


def _judge(name: str) -> Verdict:
    if not name.lower().endswith(ENDINGS):
        return unread(name)
    return None if len(Path(name).parts) > 1 else "in no label's folder"


def read_image(row: Row, corpus: ImageFolder) -> Case | Refusal:
    """A row to a case with its image, or to the reason why it is none."""
    try:
        label = _label(row["label"], corpus)
        return Case(
            case_id=_path(row),
            group_id=_group(row, corpus),
            label_id=label.id if label else None,
            label_name=label.name if label else None,
            image=_image(row, corpus),
            source=place_of(row),
        )
    except RowError as error:
        return refusal(row, error, row["path"] or None)


def _path(row: Row) -> str:
    if not row["path"]:
        raise RowError("missing-field", "path", "nothing", "an image's path")
    return row["path"]


def _label(name: str, corpus: ImageFolder) -> Label | None:
    if not name:
        return None
    return tissue(name) if corpus.names == "pannuke" else Label(id=name, name=name)


def _group(row: Row, corpus: ImageFolder) -> str:
    if corpus.group_pattern is not None:
        found = re.search(corpus.group_pattern, Path(row["path"]).name)
        if not found or not found[1]:
            raise RowError("no-group", "path", "a name without a match", f"a match of {corpus.group_pattern}")
        return found[1]
    if row["group"] is None:
        return row["path"]
    if not row["group"]:
        raise RowError("missing-field", corpus.group_column or "group", "nothing", "the patient or slide")
    return row["group"]


def _image(row: Row, corpus: ImageFolder) -> bytes:
    return plain_image(bytes_below(corpus.path, row["path"], MAX_BYTES, "path"), corpus.side)


def plain_image(data: bytes, side: int | None = None) -> bytes:
    """The bytes of a coloured image as `check_image` has them.

    Raises:
        RowError: `greyscale-image`, `wrong-size`, or a reason of `mint_ray.corpora.images`.
    """
    image, held = seen_and_held(data)
    if side is not None and image.size != (side, side):
        raise RowError("wrong-size", "image", f"{image.width} x {image.height}", f"{side} x {side}")
    if _is_grey(image):
        raise RowError("greyscale-image", "image", "one shade in every pixel", "an image in colour")
    return held


def _is_grey(image: Image.Image) -> bool:
    from PIL import ImageChops

    red, green, blue = image.split()
    return ImageChops.difference(red, green).getbbox() is None and ImageChops.difference(green, blue).getbbox() is None
