"""Files that are either whole or absent, their sums, locks, and the versions that made them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


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


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as indented UTF-8 JSON, atomically; NaN is refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


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
        The lock file; it and its folder are made if missing, and left.
    wait : float
        Seconds to wait for another process that holds it, 0 or more.
    waiting : callable
        Called once when there is something to wait for.

    Raises
    ------
    BlockingIOError
        If another process holds it, and still does after the wait.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    end, told = time.monotonic() + wait, False
    with open(path, "a+b") as file:
        while not _lock(file):
            if time.monotonic() >= end:
                raise BlockingIOError(f"{path}: another process holds this lock")
            if not told:
                waiting()
                told = True
            else:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        yield


def _lock(file: IO[bytes]) -> bool:
    """Try to lock an open file; tell whether nobody else holds the lock."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 sum of a file as a hexadecimal string."""
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
        if package in found:  # what runs, whatever an installer wrote down of it
            continue
        for name in (package, f"{package}-cpu"):
            try:
                found[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
