"""Room on the disk, and one download at a time in a folder."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from biasmir_utils.errors import DownloadError

try:
    import fcntl
except ImportError:  # Windows, where two downloads at a time are not kept apart
    fcntl = None  # type: ignore[assignment]

_SECONDS_BETWEEN_LOOKS = 0.5
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def human_size(count: float) -> str:
    """Return a number of bytes for people, e.g. ``2.6 GB`` (powers of 1,000)."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def existing_folder(path: Path) -> Path:
    """Return the nearest folder above `path` (or itself) that exists."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise DownloadError if the disk of `folder` has less than `needed` bytes free.

    The folder itself need not exist yet.
    """
    free = shutil.disk_usage(existing_folder(folder)).free
    if free < needed:
        raise DownloadError(
            f"{folder}: {purpose} takes about {human_size(needed)}, and {human_size(free)} are "
            f"free; make room, or choose another disk (--root DIR)"
        )


@contextmanager
def full_disk_as_error(path: Path, kept: str) -> Iterator[None]:
    """Turn what the system says when a disk, quota or size limit is full into DownloadError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DownloadError(
            f"{path}: the disk (or a quota) is full, {error.strerror}; {kept}; make room, or "
            f"choose another disk (--root DIR), and try again"
        ) from error


@contextmanager
def only_one(
    folder: Path, wait: float = 0.0, say: Callable[[str], object] = print
) -> Iterator[None]:
    """Hold the lock of a folder, so that two processes never write the same partial file.

    The system drops the lock when the process ends, however it ends. A file system without
    locks (some network disks) is used without one.

    Parameters
    ----------
    folder : pathlib.Path
    wait : float
        Seconds to wait for another process that holds it.
    say : callable
        Receives a line when there is something to wait for.

    Raises
    ------
    DownloadError
        If another process holds it, and still does after the wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        end, told = time.monotonic() + wait, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise DownloadError(
                        f"{folder}: another `biasmir fetch` is at work here; wait until it is done"
                    ) from None
            except OSError:
                break
            else:
                break
            if not told:
                say(f"{folder}: another process fetches here; waiting for it, {wait:.0f} s at most")
                told = True
            else:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        yield
    finally:
        os.close(descriptor)
