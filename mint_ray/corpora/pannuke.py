"""PanNuke's three folds as published (Gamper et al. 2020, https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke).

    <folder>/**/images/fold<N>/images.npy   (n, 256, 256, 3), float64 of 0 to 255
    <folder>/**/images/fold<N>/types.npy    n names of 19 tissues

`images.npy` has 4 GB: it is memory-mapped (from an object store, in a copy that each node fetches once), and read
in ranges of `PATCHES` by one Ray task each. A case is `fold1-000123`, counted from 0 as in the array. PanNuke names no patients, so every patch is a group of its
own, and an interval over groups is one over patches: it is narrower than one over patients would be.
What is refused, by reason:

| reason           | when                                                         |
|------------------|--------------------------------------------------------------|
| `unknown-tissue` | the type is none of the 19; the nearest of them is offered   |
| `pixel-range`    | values below 0 or above 255, not finite, or all of 0 to 1    |
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mint_ray.corpora.base import Corpus
from mint_ray.corpora.inventory import Inventory, Verdict, shown, survey, unread
from mint_ray.corpora.reading import Row, Unit, outcomes_of, range_unit, read_ranges, refusal
from mint_ray.errors import CorpusError, RowError, StorageError
from mint_ray.records import Case, Refusal, Split
from mint_ray.storage import Location, files_below, local_copy, location
from mint_ray.tasks.base import Label
from mint_ray.tasks.tissue import TISSUES, tissue

if TYPE_CHECKING:
    import numpy as np
    import ray.data

PATCHES = 64  # a read: 100 MB of float64
SHAPE = (256, 256, 3)
ARRAYS = ("images.npy", "types.npy")
DTYPES = ("float64", "float32", "uint8")


class PanNuke(Corpus):
    """Folds and the split that each serves; `folds: {1: train, 2: null, 3: null}` leaves fold 2 and 3 to `splits`."""

    folder: Location
    folds: dict[Literal[1, 2, 3], Split | None] = Field(default={1: "train", 2: "validation", 3: "test"}, min_length=1)

    def labels(self) -> list[Label] | None:
        return list(TISSUES)

    def label_count(self) -> int | None:
        return len(TISSUES)

    def inventory(self) -> Inventory:
        taken = {path for fold in self.folds for images in [self._images(fold)] for path in (images, _types(images))}

        def judge(name: str) -> Verdict:
            if self.folder / name in taken:
                return None
            return "a fold that corpus.folds does not name" if Path(name).name in ARRAYS else unread(name)

        return survey(self.folder, self.folder, judge)[1]

    def outcomes(self, seed: int) -> ray.data.Dataset:
        units = [unit for fold, split in self.folds.items() for unit in self._units(fold, split)]
        if not units:
            raise CorpusError(f"{self.folder}: the folds of corpus.folds hold no images")
        return read_ranges(units, _read_range)

    def _units(self, fold: int, split: Split | None) -> Iterator[Unit]:
        path = self._images(fold)
        images, types = open_fold(path)
        place = {"path": str(path), "fold": fold, "split": split, "part": path.name}
        source = path.relative_to(self.folder).as_posix()
        for start in range(0, len(images), PATCHES):
            names = types[start : start + PATCHES]
            yield range_unit(shown(source), start, len(names), types=names, **place)

    def _images(self, fold: int) -> Path:
        pattern = f"images/fold{fold}/images.npy"
        found = [path for path in files_below(self.folder) if path.as_posix().endswith(f"/{pattern}")]
        if len(found) == 1:
            return found[0]
        seen = f"{len(found)} of them" if found else "none"
        raise CorpusError(
            f"{self.folder}: one {pattern} is expected for fold {fold}, there is {seen}; unpack the fold there, or take "
            "it out of corpus.folds"
        )


def open_fold(path: Path) -> tuple[np.ndarray, list[str]]:
    """The images of a fold, mapped and not read, and its tissue names, once they fit each other.

    Raises:
        CorpusError: a file is missing or no array, holds Python objects, or has another type, shape or length.
    """
    images, types = _array(path), _array(_types(path))
    if images.shape[1:] != SHAPE or images.dtype.name not in DTYPES:
        raise CorpusError(
            f"{path}: holds {images.dtype.name} of shape {images.shape}; expected {DTYPES[0]} of shape (n, 256, 256, 3)"
        )
    if types.ndim != 1 or types.dtype.kind not in "US":
        raise CorpusError(f"{_types(path)}: holds {types.dtype} of shape {types.shape}; expected n names")
    if len(types) != len(images):
        raise CorpusError(
            f"{path.parent}: types.npy has {len(types)} names for {len(images)} images; take both files of one fold"
        )
    return images, [_name(types, index) for index in range(len(types))]


def _types(images: Path) -> Path:
    return images.with_name("types.npy")


def _name(types: np.ndarray, index: int) -> str:
    """A tissue's name, also where it is stored as bytes; what is no text becomes no tissue's name."""
    try:
        name = types[index]
        return shown(name.decode() if isinstance(name, bytes) else str(name), 200)
    except (UnicodeDecodeError, ValueError, SystemError):  # code points that Unicode does not have
        return "no text"


def _array(path: Path) -> np.ndarray:
    import numpy as np

    try:
        array = np.load(local_copy(path), mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CorpusError(f"{path}: is not there; a fold is images.npy with types.npy beside it") from None
    except StorageError:
        raise
    except Exception as error:  # numpy reads the header as Python, and raises what Python does
        raise CorpusError(
            f"{path}: is no array that can be mapped ({type(error).__name__}); it may be cut off, empty, or hold Python "
            "objects, which are never loaded"
        ) from None
    if not isinstance(array, np.ndarray):
        raise CorpusError(f"{path}: is an archive of arrays (.npz); unpack it, and name its array {path.name}")
    return array


def _read_range(unit: Unit) -> Iterator[Case | Refusal]:
    images = _array(location(unit["path"]))
    for index, name in enumerate(unit["types"], unit["first"]):
        row = {"source": unit["source"], "row": index, "fold": unit["fold"], "split": unit["split"], "type": name}
        yield from outcomes_of({**row, "pixels": images[index]}, read_patch)


def read_patch(row: Row) -> Case | Refusal:
    """A patch, its array in `pixels`, with its type to a case, or to the reason why it is none."""
    case_id = f"fold{row['fold']}-{row['row']:06d}"
    try:
        label, image = tissue(row["type"]), encode_patch(row["pixels"])
    except RowError as error:
        return refusal(row, error, case_id)
    return Case(
        case_id=case_id,
        group_id=case_id,
        split=row["split"],
        label_id=label.id,
        label_name=label.name,
        image=image,
        source=f"{row['source']}:{row['row']}",
    )


def encode_patch(pixels: np.ndarray) -> bytes:
    """Pixels of 0 to 255 as PNG, without loss: PanNuke's floats are whole numbers.

    Raises:
        RowError: `pixel-range`.
    """
    import numpy as np
    from PIL import Image

    low, high = float(pixels.min()), float(pixels.max())  # NaN compares false with everything
    if not (low >= 0 and 1 < high <= 255):
        raise RowError("pixel-range", "images.npy", f"{low:g} to {high:g}", "values of 0 to 255")
    buffer = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
