"""Where a path lives: on a file system, or in an object store. The one module that knows the difference.

A path of the configuration is a `pathlib.Path`, or, where it is written as a URL (`s3://bucket/run`, `gs://bucket/run`),
a `UPath` of the same methods over fsspec. What is annotated as `Path` takes either; what differs stands here:

|                    | on a file system                      | in an object store                                       |
|--------------------|---------------------------------------|----------------------------------------------------------|
| a file is written  | beside, then renamed                  | in one go: there is no half of an object                 |
| a folder           | beside, then renamed                  | object by object, the one that says it is whole last     |
| a library reads it | where it lies                         | in a copy that each node fetches once                    |
| its credentials    | none                                  | the environment's, by the store's own standard chain     |

fsspec's `glob`, `is_file` and `is_dir` find nothing where a store refuses to answer, and its `mkdir` makes buckets: what
is listed or read goes through this module, which raises `StorageError` then.
"""

from __future__ import annotations

import errno
import fcntl
import fnmatch
import hashlib
import importlib.util
import io
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Annotated, Any, BinaryIO, TypeGuard, cast

from pydantic import PlainSerializer, WrapValidator

from mint_ray.errors import MintError, StorageError, led_to

if TYPE_CHECKING:

    class _Remote(Path):
        """What a path in an object store has beside a `Path`'s methods; `UPath` itself is no subclass."""

        fs: Any
        path: str


logger = logging.getLogger(__name__)

DRIVERS = {"s3": "s3fs", "gs": "gcsfs"}  # scheme: the package that fsspec reaches it by


def location(text: str | Path) -> Path:
    """The path that a text means: a URL's place in an object store, else a path of this machine.

    Raises:
        ValueError: no path can be so, or the URL is none of a store that is known here, or holds credentials.
    """
    scheme, separator, place = str(text).partition("://")
    if not separator:
        return _local(text)
    if scheme not in DRIVERS:
        raise ValueError(
            f"{scheme}:// is none of {', '.join(f'{known}://' for known in DRIVERS)}; or name a plain path"
        )
    if not re.fullmatch(r"[^/@?#]+(/[^@?#]*)?", place):
        raise ValueError(
            f"expected {scheme}://bucket/path, without @, ? and #: credentials belong to the environment, never here"
        )
    if importlib.util.find_spec(DRIVERS[scheme]) is None:
        raise ValueError(f"{scheme}:// needs the package {DRIVERS[scheme]}, which is not installed")
    from upath import UPath

    # Other processes write too, so no listing may be remembered.
    return cast(Path, UPath(f"{scheme}://{place.rstrip('/')}", use_listings_cache=False))


def _local(text: str | Path) -> Path:
    if not str(text).strip():
        raise ValueError("is empty, which would be the current folder: name a file or a folder")
    if not _a_file_system_takes(text):
        raise ValueError("is no path: it has a character, or a name of a length, that no file system takes")
    return Path(text)


def _a_file_system_takes(text: str | Path) -> bool:
    try:
        return "\0" not in str(text) and all(len(part.encode()) <= 255 for part in Path(text).parts)
    except UnicodeEncodeError:
        return False


def remote(path: Any) -> TypeGuard[_Remote]:
    """Whether a path lies in an object store."""
    return hasattr(path, "storage_options")


def _located(value: Any, local: Any) -> Path:
    if remote(value):
        return value
    if isinstance(value, str) and value.startswith("~"):
        raise ValueError("starts with ~, which a shell alone reads as your home: write the path in full")
    return location(value if isinstance(value, str) else local(value))


Location = Annotated[Path, WrapValidator(_located), PlainSerializer(str, when_used="json")]
"""The type of a setting that holds a path, of either kind."""


def check_there(path: _Remote) -> None:
    """See that a store has something by that name and lets us read it.

    Raises:
        StorageError: why not.
    """
    with reaching(path):
        there = path.fs.exists(path.path)
    if not there:
        _objects(path)  # says whether the bucket is there at all
        raise StorageError(f"{path}: there is nothing by that name in the bucket; mend the path, or put it there")


@contextmanager
def written(path: Path) -> Generator[BinaryIO]:
    """A file to write into that takes its name when the block ends well: whoever reads it sees all of it, or none.

    Raises:
        StorageError: the store refuses.
    """
    if remote(path):
        whole = io.BytesIO()  # a file of fsspec's own is put as it stands when a writer fails
        yield whole
        with reaching(path):
            path.fs.pipe_file(path.path, whole.getvalue())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:48]}.{uuid.uuid4().hex}")  # a name may have 255 bytes, and no more
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def create(path: Path, text: str) -> None:
    """Write a file that must not exist yet, which of many processes one alone is granted.

    Raises:
        FileExistsError: it exists.
        StorageError: the store refuses.
    """
    if not remote(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            with os.fdopen(made, "w") as file:
                file.write(text)
        except OSError:  # on a full disk a name can be had, and no byte
            path.unlink()
            raise
        return
    with reaching(path):
        try:
            path.fs.pipe_file(path.path, text.encode(), mode="create")
        except OSError as error:
            if "ConditionalRequestConflict" in _names(error):  # another process is creating it at this moment
                raise FileExistsError(str(path)) from error
            raise


@contextmanager
def opened(path: Path, **how: Any) -> Generator[IO[Any]]:
    """A file to read, as `Path.open` has it; what a store refuses is no fault of the file.

    Raises:
        OSError: the file is missing or cannot be read.
        StorageError: the store refuses.
    """
    opens = cast("Callable[..., IO[Any]]", path.open)
    with reaching(path), opens(**({"mode": "rb"} | how)) as file:
        yield file


def files_in(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in a folder by names of this pattern, in their order; nothing where there is no folder.

    Raises:
        StorageError: the store refuses.
    """
    if not remote(folder):
        return sorted(folder.glob(pattern))
    return sorted(folder / name for name in _objects(folder) if fnmatch.fnmatchcase(name, pattern))


def files_below(path: Path) -> list[Path]:
    """All files below a folder to the bottom, or the file itself, in order; nothing where there is neither.

    Raises:
        StorageError: the store refuses.
    """
    if not remote(path):
        return [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    with reaching(path):
        names = path.fs.find(path.path)
    key = path.path.rstrip("/")  # a bucket's own ends with one
    return sorted(path if name == key else path / name[len(key) + 1 :] for name in names if not name.endswith("/"))


def _objects(path: _Remote) -> dict[str, dict[str, Any]]:
    """The objects directly below a path, or the one by its name, each with what the store tells of it."""
    with reaching(path):
        try:
            listed = path.fs.ls(path.path, detail=True)
        except FileNotFoundError as error:
            if "NoSuchBucket" in _names(error):
                raise
            return {}
    return {
        entry["name"].rpartition("/")[2]: entry
        for entry in listed
        if entry["type"] == "file" and entry["name"][-1] != "/"
    }


def remove(path: Path) -> None:
    """Remove a file or a folder with all below it, where there is one.

    Raises:
        StorageError: the store refuses.
    """
    if not remote(path):
        with suppress(FileNotFoundError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return
    if files_below(path):
        with reaching(path):
            path.fs.rm(path.path, recursive=True)


def remove_all_but(folder: Path, kept: str) -> None:
    """Remove what lies in a folder, or below, but for the file of that name in it.

    Raises:
        StorageError: the store refuses.
    """
    if not remote(folder):
        for each in folder.iterdir():
            if each.name != kept:
                remove(each)
        return
    doomed = [arrow_path(path) for path in files_below(folder) if path != folder / kept]
    with reaching(folder):
        if doomed:
            folder.fs.rm(doomed)


def last_seen(path: Path) -> float:
    """Seconds since a file was written, by the clock of whoever keeps it: a server's may go differently from ours.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the store refuses.
    """
    probe = path.with_name(f".now-{uuid.uuid4().hex}")
    with reaching(path):
        try:
            probe.fs.pipe_file(probe.path, b"") if remote(probe) else probe.touch()
            return last_change(probe) - last_change(path)
        finally:
            probe.unlink(missing_ok=True)


def last_change(path: Path) -> float:
    """When a file was written, by the clock of whoever keeps it. Opened first: NFS then asks its server."""
    if remote(path):
        return path.stat().st_mtime
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime


def touch(path: Path, text: str) -> None:
    """Let a file that holds this text look as if just written."""
    if not remote(path):
        os.utime(path)
        return
    with written(path) as file:
        file.write(text.encode())


@contextmanager
def written_folder(folder: Path, last: str | None = None) -> Generator[Path]:
    """A folder of this machine to write into that takes its name when the block ends well.

    On a file system the first of two writers wins. In a store its files go one by one below `folder`.

    Args:
        last: the file by which the folder is known to be whole; put last.

    Raises:
        StorageError: the store refuses.
    """
    if remote(folder):
        with TemporaryDirectory() as temporary:
            yield Path(temporary)
            _put(Path(temporary), folder, last)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(source: Path, folder: _Remote, last: str | None) -> None:
    names = [path.relative_to(source).as_posix() for path in files_below(source)]
    with reaching(folder):
        for batch in ([name for name in names if name != last], [name for name in names if name == last]):
            if batch:
                folder.fs.put([str(source / name) for name in batch], [arrow_path(folder / name) for name in batch])


def cache_folder() -> Path:
    """Where a node keeps what it converted or fetched: $MINT_RAY_CACHE, else ~/.cache/mint_ray."""
    return Path(os.environ.get("MINT_RAY_CACHE") or Path.home() / ".cache" / "mint_ray")


def local_copy(path: Path) -> Path:
    """The path itself where it is of this machine; else a copy of the file, or of a folder's own files, fetched once.

    A copy is known by its URL and by the tags and sizes of its objects, so what changed in the store is fetched anew.

    Raises:
        StorageError: there is nothing by that name, or the store refuses.
    """
    if not remote(path):
        return path
    found = _objects(path)
    if not found:
        check_there(path)
        raise StorageError(f"{path}: holds no file of its own; name the folder that does")
    tags = [[entry["name"], entry["size"], entry.get("ETag") or entry.get("etag")] for entry in found.values()]
    digest = hashlib.sha256(json.dumps([str(path), tags]).encode()).hexdigest()[:16]
    folder = cache_folder() / "fetched" / f"{path.name}-{digest}"
    with _alone(folder):
        if not folder.exists():
            size = sum(entry["size"] for entry in found.values()) / 2**20
            logger.info("fetching %s once for this node: %.0f MiB into %s", path, size, folder)
            with reaching(path), written_folder(folder) as temporary:
                path.fs.get([entry["name"] for entry in found.values()], [str(temporary / name) for name in found])
    single = next(iter(found.values()))["name"] == path.path
    return folder / path.name if single else folder


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """One process of this node at a time: the others wait for what it fetches."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def arrow_path(path: Path) -> str:
    """A path as they take it beside `arrow_filesystem`."""
    return path.path if remote(path) else str(path)


_FULL = "free some space, or take another run.dir"
_OTHER = "or take another run.dir"
# What an error of a file system means, and what to do.
_DISK = {
    errno.ENOSPC: f"the disk is full: {_FULL}",
    errno.EDQUOT: f"this user's share of the disk (its quota) is used up: {_FULL}",
    errno.EROFS: f"the disk is mounted for reading alone: mount it for writing, {_OTHER}",
    errno.EACCES: f"this user may not read and write there: mend its permissions, {_OTHER}",
    errno.EPERM: f"this user may not read and write there: mend its permissions, {_OTHER}",
    errno.ENOTDIR: f"a file stands where a folder should: remove it, {_OTHER}",
    errno.EEXIST: f"a file stands where a folder should: remove it, {_OTHER}",
    errno.EISDIR: f"a folder stands where a file should: remove it, {_OTHER}",
    errno.ENAMETOOLONG: "the path is too long for its file system: take a shorter run.dir",
    errno.EIO: f"the disk fails to read or to write: see the machine's log, {_OTHER}",
    errno.ESTALE: f"the shared file system no longer knows it: mount it anew, {_OTHER}",
    errno.ENOTCONN: f"the shared file system is not reached: mount it anew, {_OTHER}",
    errno.ETIMEDOUT: f"the shared file system does not answer: see its server, {_OTHER}",
    errno.EMFILE: "too many files are open: raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine: close some, or raise fs.file-max",
}
_WHEREVER = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # also where a worker's error has kept nothing but its text


def disk_trouble(error: BaseException | None, folder: Path) -> str | None:
    """What a file system means by an error met as `folder` was being worked in, as a sentence; None where it is none."""
    for each in led_to(error):
        code: int | None = getattr(each, "errno", None)
        below = str(getattr(each, "filename", None) or "").startswith(str(folder))
        told = next((known for known in _WHEREVER if code == known or os.strerror(known) in str(each)), None)
        if why := _DISK.get(told or (code if below else None) or 0):
            return _sentence(folder, why)
    return None


def cache_trouble(error: BaseException | None) -> str | None:
    """As a sentence, that a node's own folder cannot be made or written, as where a home is read-only; None where it can."""
    cache = cache_folder()
    for each in led_to(error):
        met = Path(str(getattr(each, "filename", None) or "."))
        if isinstance(each, OSError) and (cache in (met, *met.parents) or met in cache.parents):
            return (
                f"{cache} cannot be written ({each.strerror}), where models are kept as they are converted: set "
                "MINT_RAY_CACHE to a folder that can be"
            )
    return None


# What a store's error is called, by its code or its type: what is wrong, and what to do.
_REFUSALS = {
    ("NoSuchBucket",): "there is no such bucket: mend the path, or make the bucket",
    ("ExpiredToken", "TokenRefreshRequired", "RequestExpired", "RefreshError", "UnauthorizedSSOTokenError"): (
        "the credentials have expired: renew them where this job and Ray's workers find them"
    ),
    ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "SSOTokenLoadError"): (
        "no credentials are found: set them in the environment of this job and of Ray's workers, or give the nodes a role"
    ),
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "RequestTimeTooSkewed", "401"): (
        "the store does not know these credentials: see the environment, the endpoint, and the machine's clock"
    ),
    ("AccessDenied", "AllAccessDisabled", "AccountProblem", "403"): (
        "the store refuses access: let these credentials list, read, write and delete there, or take another path"
    ),
    ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"): (
        "the bucket is in another region: set AWS_DEFAULT_REGION, or the endpoint"
    ),
    ("EndpointConnectionError", "HTTPClientError", "FSTimeoutError", "ClientConnectorError"): (
        "the store is not reached: see the network, and AWS_ENDPOINT_URL where it is one of your own"
    ),
    ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "429", "500", "502", "503"): (
        "the store fails or is overloaded: wait a while"
    ),
    ("QuotaExceeded", "XMinioStorageFull", "507"): "the store is full: free some space, or have its quota raised",
    ("400",): (
        "the store refuses the request and does not say why: see the credentials, the endpoint and the region, which "
        "must be the bucket's"
    ),
}
_NAMELESS = {"400", "403", "301"}  # the answer to a question for an object's head has no text


@contextmanager
def reaching(path: Path) -> Generator[None]:
    """Say in one sentence what is wrong where a store refuses.

    Raises:
        StorageError: naming the path and the way out; every other exception passes as it is.
    """
    try:
        yield
    except MintError:
        raise
    except Exception as error:
        if remote(path) and (why := _refusal(error, path)):
            raise StorageError(_sentence(path, why)) from error
        raise


def refused_somewhere(error: BaseException, path: Path) -> StorageError | None:
    """A store's refusal that came from afar, as Ray brings a worker's: `path` is what was being written."""
    for each in led_to(error):
        if isinstance(each, StorageError):
            return StorageError(str(each))
        if told := re.findall(r"mint_ray\.errors\.StorageError: (.*)", str(each)):
            return StorageError(told[-1])
    if remote(path) and (why := _refusal(error, path)):
        return StorageError(_sentence(path, why))
    return None


def _sentence(path: Path, why: str) -> str:
    return f"{path}: {why}. Then run the same command again: what is complete is kept"


def _refusal(error: BaseException, path: _Remote) -> str | None:
    names = _names(error)
    if isinstance(error, FileExistsError) or (isinstance(error, FileNotFoundError) and "NoSuchBucket" not in names):
        return None
    if names & _NAMELESS:
        names |= _asked_again(path)
    why = next((why for known, why in _REFUSALS.items() if names & set(known)), None)
    return why or ("the store refuses the request: see its own log" if "ClientError" in names else None)


def _names(error: BaseException) -> set[str]:
    """The types of an error and of all that led to it, and the codes that a store gave."""
    names: set[str] = set()
    for each in led_to(error):
        names |= {base.__name__ for base in type(each).__mro__}
        response = getattr(each, "response", None)  # botocore's
        if isinstance(response, dict):
            names.add(str(cast("dict[str, Any]", response).get("Error", {}).get("Code")))
        names.add(str(getattr(each, "code", None)))  # gcsfs's
    return names


def _asked_again(path: _Remote) -> set[str]:
    """What a store says to a question that it answers in words."""
    bucket, _, key = path.path.partition("/")
    try:
        path.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
    except Exception as error:
        return _names(error)
    return set()
