"""Images on disk: a folder for each label, or a table (CSV) of path, label and patient.

Bytes stay as they are where the file is a PNG or JPEG in RGB, whatever its size: each model's processor resizes
for itself. Transparency is laid over white and palettes are resolved, both as PNG. What is refused, by reason,
beside the reasons of `mint_ray.corpora.images`:

| reason            | when                                                                       |
|-------------------|----------------------------------------------------------------------------|
| `no-image-file`   | the table's path names no file, or one outside of the folder               |
| `missing-field`   | the path or the group is empty                                             |
| `greyscale-image` | no pixel has a colour: stains cannot be told apart                         |
| `wrong-size`      | `side` is set and the image is not that many pixels wide and high          |
| `unknown-tissue`  | with `names: pannuke`, a label that is none of its 19                      |
| `no-group`        | `group_pattern` does not match the file's name                             |
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from mint_ray.corpora.base import Corpus
from mint_ray.corpora.images import FORMATS, MAX_BYTES, open_image
from mint_ray.corpora.reading import ROWS_PER_BLOCK, Row, files_under, parsed, place_of, refusal
from mint_ray.errors import CorpusError, RowError
from mint_ray.records import Case, Refusal
from mint_ray.storage import Location, opened
from mint_ray.tasks.base import Label
from mint_ray.tasks.tissue import TISSUES, tissue

if TYPE_CHECKING:
    import ray.data
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg")


class ImageFolder(Corpus):
    """`<path>/<label>/.../<file>`, or `table` with columns of these names.

    Without a group column or pattern each image is its own group: do so only where no two show one patient.
    """

    path: Location
    table: Path | None = Field(
        None, description="a CSV with a header, relative to `path`; none: a folder for each label"
    )
    path_column: str = "path"
    label_column: str = "label"
    group_column: str | None = Field("patient", description="the patient or slide; null: see group_pattern")
    group_pattern: str | None = Field(
        None, description="a regular expression; its first group in the file's name is the group"
    )
    names: Literal["as_written", "pannuke"] = Field("as_written", description="pannuke: labels are its 19 tissues")
    side: int | None = Field(None, ge=16, description="refuse images that are not so many pixels wide and high")

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

    def outcomes(self, seed: int) -> ray.data.Dataset:
        import ray

        rows = list(self._table_rows() if self.table else self._folder_rows())
        if not rows:
            raise CorpusError(f"{self.table or self.path}: names no image")
        items = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // ROWS_PER_BLOCK))
        return parsed(items, partial(read_image, corpus=self))

    def _folder_rows(self) -> Iterator[Row]:
        for file in files_under(self.path):
            relative = file.relative_to(self.path)
            if file.suffix.lower() in SUFFIXES and len(relative.parts) > 1:
                name = relative.as_posix()
                yield {"source": name, "row": None, "path": name, "label": relative.parts[0], "group": None}

    def _table_rows(self) -> Iterator[Row]:
        path = self.path / self.table
        wanted = {"path": self.path_column, "label": self.label_column, "group": self.group_column}
        try:
            with opened(path, mode="r", newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, restval="")
                missing = [c for c in wanted.values() if c is not None and c not in (reader.fieldnames or ())]
                if missing:
                    raise CorpusError(
                        f"{path}: has no column {', '.join(missing)}; it has {', '.join(reader.fieldnames or ())}"
                    )
                for row in reader:
                    fields = {name: row[column].strip() if column else None for name, column in wanted.items()}
                    yield {"source": self.table.as_posix(), "row": reader.line_num, **fields}
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{path}: cannot be read as a table ({type(error).__name__})") from None


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
    path = (corpus.path / row["path"]).resolve()
    if not path.is_relative_to(corpus.path.resolve()):
        raise RowError("no-image-file", "path", "a path outside of the folder", "a file below corpus.path")
    try:
        with opened(path) as file:
            return plain_image(file.read(MAX_BYTES + 1), corpus.side)
    except OSError as error:
        raise RowError("no-image-file", "path", type(error).__name__, "a file that can be read") from None


def plain_image(data: bytes, side: int | None = None) -> bytes:
    """The bytes of a coloured image, as they came if they are RGB, else as a PNG that is.

    Raises:
        RowError: `greyscale-image`, `wrong-size`, or a reason of `mint_ray.corpora.images`.
    """
    from PIL import Image

    image = open_image(data)
    if side is not None and image.size != (side, side):
        raise RowError("wrong-size", "image", f"{image.width} x {image.height}", f"{side} x {side}")
    with Image.open(io.BytesIO(data), formats=FORMATS) as original:
        if original.has_transparency_data:
            layer = original.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        as_it_came = original.mode == "RGB" and not original.has_transparency_data
    if _is_grey(image):
        raise RowError("greyscale-image", "image", "one shade in every pixel", "an image in colour")
    if as_it_came:
        return data
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _is_grey(image: Image.Image) -> bool:
    from PIL import ImageChops

    red, green, blue = image.split()
    return ImageChops.difference(red, green).getbbox() is None and ImageChops.difference(green, blue).getbbox() is None


KIND = ImageFolder
