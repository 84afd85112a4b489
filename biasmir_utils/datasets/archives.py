"""Archives (zip, tar.gz, gz): unpacked only inside their folder, in bounds, whole or not at all.

An archive is unpacked into a hidden folder beside its target and renamed when all of it is
there. Only plain files and folders are made: no link, device, owner, permission or time of the
archive gets onto the disk.
"""

from __future__ import annotations

import gzip
import os
import posixpath
import re
import shutil
import stat
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from biasmir_utils.datasets.disk import full_disk_as_error, human_size, require_space
from biasmir_utils.errors import DownloadError
from biasmir_utils.files import atomic_path

_CHUNK = 1 << 20
# What tarfile may read to find the next member: headers with long names, and its read-ahead.
_HEADER_ROOM = 1 << 20
# What other systems leave in archives; no data set needs them.
_LITTER = {"__MACOSX", ".DS_Store"}
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


@dataclass(frozen=True)
class Bounds:
    """The most that an archive may unpack to.

    Attributes
    ----------
    size : int
        Bytes of all members together.
    members : int
        Files and folders.
    """

    size: int
    members: int


def unpack(
    archive: Path,
    target: Path,
    bounds: Bounds,
    *,
    top: str | None = None,
    holds: Collection[str] = (),
    progress: Callable[[int], object] = lambda count: None,
) -> dict[str, int]:
    """Unpack a zip or tar.gz into a folder.

    Files that `target` already holds are replaced one by one where the archive has them, and
    left where it has not, so that nothing of the user's is lost.

    Parameters
    ----------
    archive : pathlib.Path
        The kind is told from its content.
    target : pathlib.Path
        The folder to make.
    bounds : Bounds
        What the archive may unpack to.
    top : str, optional
        The folder inside the archive that becomes `target`; without such a folder, or by
        default, the whole content does.
    holds : collection of str
        Files and folders that `target` must have then.
    progress : callable
        Called with the number of bytes written since the last call.

    Returns
    -------
    dict
        The size in bytes of each file, by its path inside `target` (with ``/``).

    Raises
    ------
    ArchiveError
        If the archive is damaged, has a member outside its folder, a link that leads outside,
        a device, too many bytes or members, or not what `holds` names. Nothing is left then.
    DownloadError
        If the disk is full. Nothing is left then.
    """
    target = Path(os.path.realpath(target))  # a link to another disk: unpack on that disk
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob_escape(target.name)}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with full_disk_as_error(target, "nothing was left of it"):
            temporary.mkdir()
            content = _Content(archive, temporary, bounds, progress)
            with _broken_as_error(archive):
                _unpack_any(archive, content)
            inside = temporary / top if top else temporary
            prefix = f"{top}/" if inside.is_dir() and top else ""
            inside = temporary / prefix
            absent = [name for name in holds if not (inside / name).exists()]
            if absent:
                raise ArchiveError(
                    f"{archive}: has no {absent[0]}, so it is not what was expected; delete it "
                    f"and fetch it again"
                )
            files = {
                name.removeprefix(prefix): size
                for name, size in content.files.items()
                if name.startswith(prefix)
            }
            _put(inside, target, files)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return files


def gunzip(archive: Path, target: Path, largest: int, check: Callable[[Path], None]) -> None:
    """Unpack a single .gz file, of at most `largest` bytes, once `check` accepts it.

    Raises ArchiveError if the archive is damaged or too large, and what `check` raises.
    """
    with (
        full_disk_as_error(target, "nothing was left of it"),
        atomic_path(target) as temporary,
    ):
        with (
            _broken_as_error(archive),
            gzip.open(archive, "rb") as stream,
            open(temporary, "wb") as out,
        ):
            size = 0
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > largest:
                    raise ArchiveError(f"{archive}: {_too_large(largest)}")
                out.write(chunk)
        check(temporary)


def changed_files(folder: Path, files: dict[str, int]) -> list[str]:
    """Return those of the unpacked files that are missing or have another size."""
    changed = []
    for name, size in files.items():
        try:
            same = (folder / name).stat().st_size == size
        except OSError:
            same = False
        if not same:
            changed.append(name)
    return changed


def glob_escape(name: str) -> str:
    """Return a name for `Path.glob` that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", name)


class _Content:
    """Writes the members of one archive below a folder, and keeps count."""

    def __init__(
        self, archive: Path, folder: Path, bounds: Bounds, progress: Callable[[int], object]
    ) -> None:
        self.archive, self.folder, self.bounds, self.progress = archive, folder, bounds, progress
        self.files: dict[str, int] = {}
        self.size = 0
        self.members = 0

    def count(self, members: int = 1) -> None:
        self.members += members
        if self.members > self.bounds.members:
            raise ArchiveError(
                f"{self.archive}: more than {self.bounds.members} members, more than this "
                f"archive can have; not unpacked"
            )

    def name(self, name: str) -> str | None:
        """Return the path of a member inside the folder, or None where it is to be left out."""
        clean = name.replace("\\", "/")
        parts = [part for part in clean.split("/") if part not in ("", ".")]
        if clean.startswith("/") or re.match(r"[A-Za-z]:", clean) or ".." in parts:
            raise ArchiveError(f"{self.archive}: {self.refusal(name, 'climbs out of its folder')}")
        if "\0" in name:
            raise ArchiveError(f"{self.archive}: {self.refusal(name, 'has a zero in its name')}")
        if not parts or any(part in _LITTER or part.startswith("._") for part in parts):
            return None
        return "/".join(parts)

    def refusal(self, name: str, why: str) -> str:
        return f"the member {name!r} {why}; not unpacked, do not trust this archive"

    def add_folder(self, name: str) -> None:
        with self._one_thing(name):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def add_file(self, name: str, stream: IO[bytes]) -> None:
        path = self.folder / name
        written = 0
        with self._one_thing(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as out:
                while chunk := stream.read(_CHUNK):
                    written += len(chunk)
                    self.size += len(chunk)
                    if self.size > self.bounds.size:
                        raise ArchiveError(f"{self.archive}: {_too_large(self.bounds.size)}")
                    out.write(chunk)
                    self.progress(len(chunk))
        self.files[name] = written

    @contextmanager
    def _one_thing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            why = self.refusal(name, "is both a file and a folder")
            raise ArchiveError(f"{self.archive}: {why}") from None


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
            f"{archive}: damaged, or no archive of this kind ({error or type(error).__name__}); "
            f"delete it and fetch it again"
        ) from error


def _unpack_any(archive: Path, content: _Content) -> None:
    with open(archive, "rb") as file:
        start = file.read(4)
    if start.startswith(b"\x1f\x8b"):
        _untar(archive, content)
    elif start.startswith(b"PK"):
        _unzip(archive, content)
    else:
        raise ArchiveError(f"{archive}: neither a zip nor a tar.gz; delete it and fetch it again")


def _unzip(archive: Path, content: _Content) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        content.count(len(members))
        # Python reads no more of a member than is declared, so the sum is a bound.
        declared = sum(member.file_size for member in members)
        if declared > content.bounds.size:
            raise ArchiveError(f"{archive}: {_too_large(content.bounds.size)}")
        require_space(content.folder, declared, f"unpacking {archive.name}")
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == 3 else 0
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = content.refusal(member.filename, "is a link or a device")
                raise ArchiveError(f"{archive}: {what}")
            name = content.name(member.filename)
            if name is None:
                continue
            if member.is_dir():
                content.add_folder(name)
            else:
                with opened.open(member) as stream:
                    content.add_file(name, stream)


class _Metered:
    """A stream that gives only what it was allowed, so that no header can fill the memory."""

    def __init__(self, stream: gzip.GzipFile, archive: Path) -> None:
        self.stream, self.archive, self.allowed = stream, archive, 0

    def read(self, size: int = -1) -> bytes:
        if self.allowed < 0:
            raise ArchiveError(
                f"{self.archive}: a header larger than 1 MB; not unpacked, do not trust it"
            )
        data = self.stream.read(size)
        self.allowed -= len(data)
        return data


def _untar(archive: Path, content: _Content) -> None:
    with gzip.open(archive, "rb") as unzipped:
        metered = _Metered(unzipped, archive)
        metered.allowed = _HEADER_ROOM
        # As a stream ("r|"): one pass, and nothing is read twice.
        stream: Any = metered
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            while (member := opened.next()) is not None:
                content.count()
                _add_tar_member(opened, member, content, metered)
                metered.allowed = _HEADER_ROOM
        # To the end, where gzip keeps its own check of the content.
        while metered.read(1 << 16):
            pass


def _add_tar_member(
    opened: tarfile.TarFile, member: tarfile.TarInfo, content: _Content, metered: _Metered
) -> None:
    name = content.name(member.name)
    if member.isdir():
        if name is not None:
            content.add_folder(name)
        return
    if member.islnk() or member.issym():
        target = _link_target(member, content)
        if name is not None:
            with open(content.folder / target, "rb") as same:
                content.add_file(name, same)
        return
    if not member.isreg() or member.issparse():
        what = content.refusal(member.name, "is a device, or no plain file")
        raise ArchiveError(f"{content.archive}: {what}")
    if content.size + member.size > content.bounds.size:
        raise ArchiveError(f"{content.archive}: {_too_large(content.bounds.size)}")
    metered.allowed = member.size + _HEADER_ROOM
    data = opened.extractfile(member)
    assert data is not None  # it is a plain file
    if name is not None:
        content.add_file(name, data)
    while data.read(_CHUNK):  # of what is left out
        pass


def _link_target(member: tarfile.TarInfo, content: _Content) -> str:
    """Return the file, already unpacked, that a link inside the archive stands for."""
    base = "" if member.islnk() else posixpath.dirname(member.name)
    target = posixpath.normpath(posixpath.join(base, member.linkname))
    if target in content.files:
        return target
    what = content.refusal(member.name, f"is a link to {member.linkname!r}, which is no file in it")
    raise ArchiveError(f"{content.archive}: {what}")


def _put(content: Path, target: Path, files: Collection[str]) -> None:
    if not target.exists():
        os.replace(content, target)
        return
    for name in files:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(content / name, place)
