"""Files that are either whole or absent, their sums, locks, and the versions that made them."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
import unicodedata
import uuid
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from biasmir_utils.errors import ArgumentError, LockedError

_SECONDS_BETWEEN_LOOKS = 0.5
BROKEN_ARRAYS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
"""What numpy raises on reading an `.npz` file that is damaged, empty or something else."""


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path beside `target` to write to, and rename it to `target` on success.

    On an error the temporary file or folder is removed and `target` is left as it was. The
    suffix of the target is kept, because some writers choose the format by it.

    Parameters
    ----------
    target : path
        The final name. Its folder is made if it is missing.

    Yields
    ------
    pathlib.Path
        Where to write: a file, or a folder that the caller makes.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.partial{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:  # a full disk names no file, and nobody knows a hidden one
        if error.errno:
            named = str(error.filename or target)
            error.filename = named.replace(str(temporary), str(target))
            del error.filename2
        raise
    finally:
        with suppress(OSError):  # which would hide the first error
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)


def check_outputs(
    paths: Iterable[Path], is_ours: Callable[[Path], bool] = lambda path: False
) -> None:
    """Check that a set of files can be written without replacing what is somebody else's.

    Asked before the work, and again before the files are renamed to these names.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        All files of the set.
    is_ours : callable
        Tells of a file that is there whether this program wrote it as this very output, so that
        it may be replaced.

    Raises
    ------
    ArgumentError
        Naming the first that is a link, a folder or another's file, or whose folder cannot be
        written to.
    """
    for path in paths:
        folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        wrong = {
            f"{folder} is not a folder": not folder.is_dir(),
            f"{folder} cannot be written to": not os.access(folder, os.W_OK | os.X_OK),
            "it is a link, which would be replaced": path.is_symlink(),
            "it is a folder": path.is_dir(),
            f"there is a {path.name} already, which it does not replace": (
                path.exists() and not is_ours(path)
            ),
        }
        if found := [why for why, is_so in wrong.items() if is_so]:
            raise ArgumentError(
                f"{path} cannot be written: {found[0]}; choose another place, or remove it"
            )


def found_path(path: Path) -> Path:
    """Return a path as the disk spells it: names may stand there in another Unicode form."""
    if os.path.lexists(path) or path == path.parent:
        return path
    folder, name = found_path(path.parent), unicodedata.normalize("NFC", path.name)
    if name.isascii() or not folder.is_dir():
        return folder / path.name
    return folder / _names_in(folder, folder.stat().st_mtime_ns).get(name, path.name)


@functools.lru_cache(maxsize=8)
def _names_in(folder: Path, changed: int) -> dict[str, str]:
    """Return what a folder holds by its NFC name; kept, as each of its clips may be asked for."""
    return {unicodedata.normalize("NFC", name): name for name in os.listdir(folder)}


def move_files(source: Path, target: Path) -> None:
    """Move all files of a folder into another, which keeps what else it has; the deepest first.

    Parameters
    ----------
    source : pathlib.Path
        A folder on the same disk.
    target : pathlib.Path
        The other folder; made if it is missing.
    """
    for file in sorted(source.rglob("*"), key=lambda file: (-len(file.parts), file)):
        if not file.is_dir():
            (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target / file.relative_to(source))


def read_json(path: Path) -> Any:
    """Read JSON that means one thing only.

    Raises
    ------
    ValueError
        If it is not UTF-8 or not JSON, has a key twice, or holds NaN or an infinite number.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            keys = [key for key, _ in pairs]
            raise ValueError(f"the key {max(keys, key=keys.count)!r} is there twice")
        return found

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
        json.dumps(content, allow_nan=False)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return content


def json_object(path: Path) -> dict[str, Any]:
    """Return the record in a JSON file; empty if there is none."""
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError):
        return {}


def json_bytes(content: Any) -> bytes:
    """Return indented JSON in UTF-8; NaN is a `ValueError`.

    Numbers and arrays of numpy become numbers and lists; paths, dates and bytes become texts.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if hasattr(value, "tolist"):
            return value.tolist()
        return list(value) if isinstance(value, Collection) else str(value)

    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=plain)
    return f"{text}\n".encode()


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `json_bytes` of some content, atomically."""
    text = json_bytes(content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(text)


@contextmanager
def locked(
    path: str | os.PathLike[str],
    *,
    wait: float = 0.0,
    waiting: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """Hold a lock, which the system drops when the process ends, however it ends.

    A file system without locks (some network disks) is used without one.

    Parameters
    ----------
    path : path
        The lock file; it and its folder are made if missing. It is removed in the end.
    wait : float
        Seconds to wait for another process that holds it, 0 or more.
    waiting : callable
        Called once when there is something to wait for.

    Raises
    ------
    LockedError
        If another process holds it, and still does after the wait.
    """
    path = Path(path)
    end, told = time.monotonic() + wait, False
    while (file := _open_locked(path)) is None:
        if time.monotonic() >= end:
            raise LockedError(
                f"{path}: another process is at work in this folder"
                + (f", also after a wait of {wait:.0f} s" if wait else "")
                + "; try again when it has ended"
            )
        if not told:
            waiting()
        told = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    with file:
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no file that is open
                path.unlink()


def _open_locked(path: Path) -> IO[bytes] | None:
    """Open a lock file and lock it; None if another process holds it, or has just removed it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+b")  # noqa: SIM115
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:  # a file system without locks
        pass
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
    file.close()
    return None


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 sum of a file, or of a folder's sorted relative names and their sums."""
    if os.path.isdir(path):
        digest = hashlib.sha256()
        for one in sorted(one for one in Path(path).rglob("*") if one.is_file()):
            digest.update(f"{one.relative_to(path).as_posix()}\0{sha256(one)}\n".encode())
        return digest.hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Return the installed version of each package, Python and BiasMIR first.

    Packages that are not installed are left out. TensorFlow without CUDA is installed under
    another name, and counts as TensorFlow.
    """
    from biasmir_utils import __version__

    found = {"python": platform.python_version(), "biasmir_utils": __version__}
    for package in packages:
        for name in (package, f"{package}-cpu"):
            with suppress(importlib.metadata.PackageNotFoundError):
                found.setdefault(package, importlib.metadata.version(name))
    return found
