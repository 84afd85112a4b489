"""Archives (zip, tar.gz, gz): unpacked only inside their folder, in bounds, whole or not at all."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from biasmir_utils.datasets._download import human_size
from biasmir_utils.errors import DownloadError
from biasmir_utils.files import atomic_path

MOST_MEMBERS = 100_000
"""Files and folders above which an archive is not unpacked."""
# Every way in which the standard library says that an archive is broken.
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that Python has not
    RuntimeError,  # a password
    ValueError,
)


class ArchiveError(DownloadError):
    """An archive is damaged, or is not to be trusted."""


def unpack(
    archive: Path, target: Path, largest: int, holds: Collection[str] = ()
) -> dict[str, int]:
    """Unpack a zip or tar.gz into a folder.

    Files that the folder already holds are replaced one by one where the archive has them, and
    left where it has not, so that nothing of the user's is lost.

    Parameters
    ----------
    archive : pathlib.Path
        The kind is told from its name.
    target : pathlib.Path
        The folder to make. A folder of its name inside the archive becomes it; without one, the
        whole content does.
    largest : int
        Bytes that the archive may unpack to.
    holds : collection of str
        Files and folders that `target` must have then.

    Returns
    -------
    dict
        The size in bytes of each file, by its path inside `target` (with ``/``).

    Raises
    ------
    ArchiveError
        If the archive is damaged, has a member or a link that leads outside, a device, too many
        bytes or members, or not what `holds` names. Nothing is left then.
    """
    target = Path(os.path.realpath(target))  # a link to another disk: unpack on that disk
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    with TemporaryDirectory(
        prefix=f".{target.name}.", suffix=".partial", dir=target.parent
    ) as temporary:
        folder = Path(temporary) / "content"
        folder.mkdir()
        with _broken_as_error(archive):
            if archive.suffix == ".zip":
                _unzip(archive, folder, largest)
            else:
                _untar(archive, folder, largest)
        inside = folder / target.name if (folder / target.name).is_dir() else folder
        absent = [name for name in holds if not (inside / name).exists()]
        if absent:
            raise ArchiveError(
                f"{archive}: has no {absent[0]}, so it is not what was expected; delete it and "
                f"fetch it again"
            )
        paths = [path for path in inside.rglob("*") if path.is_file()]
        sizes = {path.relative_to(inside).as_posix(): path.stat().st_size for path in paths}
        if target.exists():
            shutil.copytree(inside, target, dirs_exist_ok=True, copy_function=os.replace)
        else:
            os.replace(inside, target)
    return sizes


def gunzip(archive: Path, target: Path, largest: int, known: str | None) -> None:
    """Unpack a ``.gz`` into a file of at most `largest` bytes, which has to have a known sum.

    Raises
    ------
    ArchiveError
        If the archive is damaged, too large, or not of that sum. Nothing is left then.
    """
    with atomic_path(target) as temporary:
        with (
            _broken_as_error(archive),
            _Bounded(archive, largest) as stream,
            open(temporary, "wb") as out,
        ):
            shutil.copyfileobj(stream, out)
        if known is not None and not has_sum(temporary, known):
            raise ArchiveError(
                f"{target}: what the archive holds is not the file that was expected, which has "
                f"the sum {known}"
            )


def has_sum(path: Path, known: str) -> bool:
    """Tell whether a file has a sum, `md5:...`, `sha256:...` or of another algorithm."""
    # Late: in a notebook, importing pooch makes tqdm warn that there are no widgets.
    import pooch

    return bool(pooch.hashes.hash_matches(str(path), known))


def changed_files(folder: Path, files: dict[str, int]) -> list[str]:
    """Return those of the unpacked files that are missing or have another size."""
    return [
        name
        for name, size in files.items()
        if not (folder / name).is_file() or (folder / name).stat().st_size != size
    ]


class _Bounded(gzip.GzipFile):
    """The content of a gz, of which no more than `largest` bytes are given to anybody."""

    def __init__(self, archive: Path, largest: int) -> None:
        super().__init__(archive, "rb")
        self.archive, self.largest = archive, largest

    def read(self, size: int | None = -1) -> bytes:
        left = self.largest - self.tell()
        data = super().read(left + 1 if size is None or size < 0 else min(size, left + 1))
        if len(data) > left:
            raise ArchiveError(f"{self.archive}: {_too_large(self.largest)}")
        return data


def _too_large(largest: int) -> str:
    return (
        f"unpacks to more than {human_size(largest)}, more than it can hold; not unpacked, do "
        f"not trust this archive"
    )


@contextmanager
def _broken_as_error(archive: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise ArchiveError(
            f"{archive}: damaged, no archive of this kind, or not to be trusted "
            f"({error or type(error).__name__}); delete it and fetch it again"
        ) from error


def _wanted(archive: Path, name: str, number: int) -> bool:
    """Tell whether a member is no litter of other systems; refuse what no archive can have."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts:
        raise ArchiveError(
            f"{archive}: the member {name!r} climbs out of its folder; not unpacked, do not trust "
            f"this archive"
        )
    if number >= MOST_MEMBERS:
        raise ArchiveError(f"{archive}: more than {MOST_MEMBERS} members; not unpacked")
    return not any(part in ("__MACOSX", ".DS_Store") or part.startswith("._") for part in parts)


def _progress(members: Any, folder: Path) -> Any:
    name = folder.parent.name.split(".")[1]
    return enumerate(tqdm(members, desc=f"unpacking {name}", unit=" files", disable=None))


def _unzip(archive: Path, folder: Path, largest: int) -> None:
    with zipfile.ZipFile(archive) as opened:
        # Python reads no more of a member than is declared, so the sum is a bound.
        if sum(member.file_size for member in opened.infolist()) > largest:
            raise ArchiveError(f"{archive}: {_too_large(largest)}")
        for number, member in _progress(opened.infolist(), folder):
            if _wanted(archive, member.filename, number):
                opened.extract(member, folder)


def _untar(archive: Path, folder: Path, largest: int) -> None:
    with _Bounded(archive, largest) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            for number, member in _progress(opened, folder):
                if _wanted(archive, member.name, number):
                    opened.extract(member, folder, filter="data")
        # To the end, where gzip keeps its own check of the content.
        while stream.read(1 << 16):
            pass
