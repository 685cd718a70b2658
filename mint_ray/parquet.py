"""Parquet files of a run: parts in a folder, each there as a whole or not at all; whole tables; many files as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq

from mint_ray.storage import arrow_path, files_in, reaching, remote, written

if TYPE_CHECKING:
    from mint_ray.storage import _Remote
P = ParamSpec("P")
R = TypeVar("R")


class _StoreFile:
    """An open file of a store; what the store refuses as it is read or written is a `StorageError`."""

    def __init__(self, file: Any, place: Path):
        self._file, self._place = file, place

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        return _reaching(self._place, found) if callable(found) else found


def _reaching(place: Path, call: Callable[P, R]) -> Callable[P, R]:
    def called(*arguments: P.args, **more: P.kwargs) -> R:
        with reaching(place):
            return call(*arguments, **more)

    return called


class _StoreHandler(pyarrow.fs.FSSpecHandler):
    """A store as Arrow sees it. Arrow's own handler takes a refusal for a missing file, and makes missing buckets.

    What a store refuses is told here, by its type: what comes back from Ray's workers is a text.
    """

    def __init__(self, place: _Remote):
        super().__init__(place.fs)
        self._place = place

    def __reduce__(self):
        return type(self), (self._place,)

    def create_dir(self, path: str, recursive: bool) -> None:
        pass

    def _opened(self, path: str, mode: Literal["r", "w"]) -> pa.PythonFile:
        with reaching(self._place):
            file: Any = _StoreFile(self._place.fs.open(path, mode=f"{mode}b"), self._place)
            return pa.PythonFile(file, mode=mode)

    def open_input_file(self, path: str) -> pa.PythonFile:
        return self._opened(path, "r")

    open_input_stream = open_input_file

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        return self._opened(path, "w")

    def get_file_info(self, paths: str | list[str]) -> pyarrow.fs.FileInfo | list[pyarrow.fs.FileInfo]:
        return _reaching(self._place, super().get_file_info)(paths)

    def get_file_info_selector(self, selector: pyarrow.fs.FileSelector) -> list[pyarrow.fs.FileInfo]:
        return _reaching(self._place, super().get_file_info_selector)(selector)

    def delete_dir(self, path: str) -> None:
        _reaching(self._place, super().delete_dir)(path)

    def delete_file(self, path: str) -> None:
        _reaching(self._place, super().delete_file)(path)


def arrow_filesystem(path: Path) -> pyarrow.fs.FileSystem | None:
    """What Arrow, Ray Data and Ray Train reach a path through; None: their own way on this machine."""
    if not remote(path):
        return None
    # The stubs have the handler's methods as abstract; it implements them.
    return pyarrow.fs.PyFileSystem(_StoreHandler(path))  # pyright: ignore[reportAbstractUsage]


def train_storage(folder: Path) -> dict[str, Any]:
    """Where Ray Train keeps its checkpoints, as `RunConfig` takes it."""
    return {"storage_path": arrow_path(folder), "storage_filesystem": arrow_filesystem(folder)}


def random_access(path: Path) -> pa.NativeFile:
    """A file to read here and there: what is asked for is read, and nothing around it."""
    if not remote(path):
        return pa.OSFile(str(path), mode="rb")
    with reaching(path):
        file: Any = _StoreFile(path.fs.open(path.path, mode="rb", cache_type="none"), path)
        return pa.PythonFile(file, mode="r")


def part_files(folder: Path) -> list[Path]:
    """The finished Parquet parts of a folder, in their order; none where there is no folder."""
    return files_in(folder, "part-*.parquet")


def write_part(table: pa.Table, path: Path) -> None:
    """Write a part: it is there as a whole or not at all, however the writer ends."""
    with written(path) as file:
        pq.write_table(table, file, compression="zstd")


def remove_debris(folder: Path) -> None:
    """Remove what killed writers left beside the parts; it was never counted. In a store they leave nothing."""
    for path in [] if remote(folder) else folder.rglob(".part-*.parquet.*"):
        path.unlink(missing_ok=True)


def parquet_file(path: Path) -> pq.ParquetFile:
    """A Parquet file to read parts of."""
    with reaching(path):
        return pq.ParquetFile(arrow_path(path), filesystem=arrow_filesystem(path))


def read_table(path: Path, columns: list[str] | None = None, coded: Sequence[str] = ()) -> pa.Table:
    """A Parquet file's rows.

    Args:
        coded: columns of texts, by their path in the file, that are read as codes of a dictionary.
    """
    with reaching(path):
        # The stubs leave one of its parameters open.
        return pq.read_table(  # pyright: ignore[reportUnknownMemberType]
            arrow_path(path), columns=columns, filesystem=arrow_filesystem(path), read_dictionary=list(coded)
        )


def parquet_dataset(files: Sequence[Path], schema: pa.Schema) -> pyarrow.dataset.Dataset:
    """Parquet files, at least one, as one table to scan."""
    return pyarrow.dataset.dataset(
        [arrow_path(file) for file in files], schema=schema, filesystem=arrow_filesystem(files[0])
    )


def read_parts(
    folder: Path, schema: pa.Schema, splits: Sequence[str] | None = None, columns: list[str] | None = None
) -> pa.Table:
    """The rows of a folder's parts, in their order; none where there is no part.

    Args:
        splits: keep the rows of these splits only.
        columns: those wanted, in this order (all: None).
    """
    files = part_files(folder)
    if not files:
        return schema.empty_table().select(columns or schema.names)
    kept = None if splits is None else pyarrow.dataset.field("split").isin(list(splits))
    return parquet_dataset(files, schema).to_table(columns=columns, filter=kept)
