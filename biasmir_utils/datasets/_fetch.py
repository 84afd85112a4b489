"""Fetching data sets, the paper's files and networks: checked, resumable, unpacked safely.

Under the root folder (`default_root`, or one that the caller names):

- ``openmic-2018/``, ``IRMAS-TrainingData/``: the unpacked data sets;
- ``paper/``: the published embeddings and the published split;
- ``models/``: the networks;
- ``downloads/``: the archives, and records of their sums (``sums.json``) and of what was unpacked
  (``<archive>.unpacked.json``). Archives may be deleted once they are unpacked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from biasmir_utils.datasets import _download
from biasmir_utils.datasets._archives import ArchiveError, changed_files, gunzip, has_sum, unpack
from biasmir_utils.datasets._download import (
    Download,
    check_answer,
    human_size,
    persist,
)
from biasmir_utils.datasets.base import MARGIN, Dataset, RemoteFile, place_of, to_fetch
from biasmir_utils.errors import ArgumentError, DownloadError
from biasmir_utils.files import atomic_path, locked, write_json

MIRROR_VARIABLE = "BIASMIR_BASE_URL"


def fetch(
    names: Sequence[str],
    root: str | os.PathLike[str] | None = None,
    *,
    files: Collection[str] = (),
    base_url: str | None = None,
    from_dir: str | os.PathLike[str] | None = None,
    keep_archives: bool = True,
    wait: float = 0.0,
    say: Callable[[str], object] = print,
) -> dict[str, Path]:
    """Bring data sets to disk, checked against their sums; what is there already is left alone.

    Parameters
    ----------
    names : sequence of str
        Of `DATASETS`: openmic, irmas, paper-embeddings, paper-split, models.
    root : path, optional
        The folder to fill; by default `default_root`.
    files : collection of str
        The names of the files to bring, of these data sets; by default all.
    base_url : str, optional
        A mirror, which has every file right under this address; by default
        `$BIASMIR_BASE_URL`, or the files' own addresses.
    from_dir : path, optional
        A folder that has the files already (or is the root of another machine): nothing is
        downloaded. It is never written to.
    keep_archives : bool
        Whether archives stay once they are unpacked.
    wait : float
        Seconds to wait for another call that is at work in the same root, 0 or more.
    say : callable
        Receives each line meant for the user: the licence, what was done, where it is.

    Returns
    -------
    dict of str to pathlib.Path
        The file or folder that each remote file became, by the remote file's name.

    Raises
    ------
    DownloadError
        Naming the file or address, and what to do. What stands under a final name is whole
        then, and the next call goes on.
    ArgumentError
        If a name or an argument is unknown.
    """
    asked = [to_fetch(name) for name in dict.fromkeys(names)]
    mirror = base_url if base_url is not None else os.environ.get(MIRROR_VARIABLE)
    if mirror and not mirror.startswith(("http://", "https://")):
        raise ArgumentError(f"base URL {mirror!r}: expected an http:// or https:// address")
    if from_dir is not None and not Path(from_dir).is_dir():
        raise ArgumentError(f"{from_dir}: no such folder; it should hold the files to use")
    place = place_of(root).absolute()
    work = _Fetching(
        place,
        mirror.rstrip("/") if mirror else None,
        None if from_dir is None else Path(from_dir),
        keep_archives,
        say,
    )
    lock = place / "downloads" / ".lock"

    def waiting() -> None:
        say(f"{lock.parent}: another process fetches here; waiting for it, {wait:.0f} s at most")

    results: dict[str, Path] = {}
    try:
        with locked(lock, wait=wait, waiting=waiting):
            for dataset in asked:
                wanted = [file for file in dataset.files if not files or file.name in files]
                work.bring_all(dataset, wanted)
                results.update({file.name: place / file.to for file in wanted})
    except BlockingIOError as error:
        raise DownloadError(
            f"{lock.parent}: another `biasmir fetch` is at work here; wait until it is done"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{error.filename or place}: {error.strerror or error}; what had come is kept. Make "
            f"room, or choose a folder that can be written (--root DIR), and try again"
        ) from error
    return results


def is_published(root: Path, file: RemoteFile, names: Collection[str] = ()) -> bool:
    """Tell whether what was fetched, or put there by hand, is the published file.

    Parameters
    ----------
    root : pathlib.Path
        The folder of fetched files.
    file : RemoteFile
        The file; of an archive it counts with which sum `fetch` unpacked it.
    names : collection of str
        The files of the archive that must still have their size; by default all.
    """
    if not file.unpacked:
        return file.sum is not None and _has_sum(root / file.to, file.sum)
    sum_, sizes = _unpacked(root, file)
    found = {name: size for name, size in sizes.items() if not names or name in names}
    return (
        sum_ is not None
        and sum_ == file.sum
        and len(found) == len(names or sizes)
        and not changed_files(root / file.to, found)
    )


def unchecked_inputs(root: Path, used: Iterable[Path]) -> dict[str, str]:
    """Return the sums of fetched files that were used and that nobody has vouched for.

    Parameters
    ----------
    root : pathlib.Path
        The folder of fetched files.
    used : iterable of pathlib.Path
        Files, or folders of unpacked archives, in the root.

    Returns
    -------
    dict of str to str
        By the path relative to the root.
    """
    files = [path.absolute() for path in used]
    return {
        entry["became"]: str(entry.get("sum"))
        for entry in _read_json(_sums(root)).values()
        if entry.get("unchecked")
        and any(file.is_relative_to((root / entry["became"]).absolute()) for file in files)
    }


@dataclass
class _Fetching:
    """One call of `fetch`."""

    root: Path
    mirror: str | None
    from_dir: Path | None
    keep_archives: bool
    say: Callable[[str], object]

    def bring_all(self, dataset: Dataset, files: Sequence[RemoteFile]) -> None:
        """Bring those files of a data set that are not there."""
        records = [self._record(file) for file in files]
        stated = dict.fromkeys(str(one["licence"]) for one in records if one.get("licence"))
        licence = ", ".join(stated) or dataset.licence
        self.say(f"{dataset.title}\n  licence: {licence}\n  {dataset.page}")
        for file, record in zip(files, records, strict=True):
            if record.get("unchecked"):
                self._make_up_check(file)
        needed = [file for file in files if not self._ready(file)]
        self._check_space(dataset, needed)
        for file in files:
            if file in needed:
                self._bring(file)
            elif self._record(file).get("unchecked"):
                self.say(f"  {self.root / file.to}: there already")
                self._warn_unchecked(file)
            else:
                self.say(f"  {self.root / file.to}: there already, checked")

    def _record(self, file: RemoteFile) -> dict[str, Any]:
        return _read_json(_sums(self.root)).get(file.name, {})

    def _write_record(self, file: RemoteFile, **entry: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        sums = _read_json(_sums(self.root))
        write_json(_sums(self.root), {**sums, file.name: {**entry, "date": now}})

    def _known(self, file: RemoteFile) -> str | None:
        """Return the sum that somebody vouches for: the table, its record, the first download."""
        record = self._record(file)
        return file.sum or (None if record.get("unchecked") else record.get("sum"))

    def _ready(self, file: RemoteFile) -> bool:
        known = file.sum or self._record(file).get("sum")
        if not file.unpacked:
            return known is not None and _has_sum(self.root / file.to, known)
        sum_, sizes = _unpacked(self.root, file)
        place = self.root / file.to
        folder = place if file.unpacked_sum is None else place.parent
        return (
            bool(sizes)
            and known in (None, sum_)
            and not changed_files(folder, sizes)
            and (file.unpacked_sum is None or _has_sum(place, file.unpacked_sum))
        )

    def _make_up_check(self, file: RemoteFile) -> None:
        """Check a file that came while its published sum could not be asked for."""
        known, place = self._published_sum(file, optional=True), self.root / file.to
        if known is None or not place.is_file():
            return
        if _has_sum(place, known):
            self.say(f"  {place}: checked now, it has the sum that doi:{file.doi} publishes")
        else:
            self.say(
                f"  WARNING: {place}: NOT the file that doi:{file.doi} publishes, which has "
                f"{known}. What was made from it is to be made anew"
            )

    def _warn_unchecked(self, file: RemoteFile) -> None:
        self.say(
            f"  WARNING: {file.name} is UNCHECKED: its published sum could not be asked for "
            f"(doi:{file.doi} was not reached), so nothing says that it is the right file. Call "
            f"`biasmir fetch` again where zenodo.org can be reached; the check is made up then"
        )

    def _check_space(self, dataset: Dataset, needed: Sequence[RemoteFile]) -> None:
        size = sum(file.unpacked for file in needed)
        for file in needed:
            if self.from_dir is None:
                have = [self.root / file.kept, self.root / f"{file.kept}.partial"]
                size += max(file.size - sum(p.stat().st_size for p in have if p.is_file()), 0)
        free = shutil.disk_usage(self.root).free
        if free < size:
            raise DownloadError(
                f"{self.root}: fetching {dataset.name} takes about {human_size(size)}, and "
                f"{human_size(free)} are free; make room, or choose another disk (--root DIR)"
            )

    def _bring(self, file: RemoteFile) -> None:
        known, unchecked = self._known(file), False
        if known is None and file.doi is not None:
            optional = self.mirror is not None or self.from_dir is not None
            known = self._published_sum(file, optional)
            unchecked = known is None
        place = self._download(file, known) if self.from_dir is None else self._take(file, known)
        value = known or _sum(place)
        if file.unpacked:
            try:
                self._unpack(file, place, value)
            except ArchiveError:
                # Without a sum to vouch for it, the next call had better download it anew.
                if known is None and self.from_dir is None:
                    place.unlink(missing_ok=True)
                raise
        if unchecked:
            self._write_record(file, sum=value, told_by="nobody", unchecked=True, became=file.to)
            self._warn_unchecked(file)
        elif known is None:
            self._write_record(file, sum=value, told_by="the first download")
            self.say(
                f"  {file.name}: no sum is published for it; {value} was recorded at this first "
                f"download, and is checked from now on"
            )
        if file.unpacked and not self.keep_archives and self.from_dir is None:
            place.unlink()

    def _download(self, file: RemoteFile, known: str | None) -> Path:
        place = self.root / file.kept
        was = known or self._record(file).get("sum")
        if place.is_file() and (was is None or _has_sum(place, was)):
            return place
        url = f"{self.mirror}/{quote(file.name)}" if self.mirror else file.url
        size = f" (about {human_size(file.size)})" if file.size else ""
        self.say(f"  {file.name}: downloading{size} from {url}")
        place.parent.mkdir(parents=True, exist_ok=True)
        download = Download(url, place, file.largest)
        while True:
            resumed = download.run()
            if known is None or _has_sum(download.partial, known):
                download.finish()
                return place
            found = _sum(download.partial, known.partition(":")[0])
            download.discard()
            if not resumed:
                raise DownloadError(
                    f"{url}: not the file that was expected, what came was deleted (its sum is "
                    f"{found}, expected {known}); try again; if it stays so, the file has changed "
                    f"or something alters it on the way"
                )
            self.say(f"  {file.name}: the parts of two downloads do not fit; starting again")

    def _take(self, file: RemoteFile, known: str | None) -> Path:
        """Check a file of the folder that the user named, and copy it unless it is unpacked."""
        assert self.from_dir is not None
        places = [self.from_dir / file.name, self.from_dir / file.kept]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DownloadError(
                f"{places[0]}: no such file; get it from {file.url} by other means and put it there"
            )
        if known is not None and not _has_sum(found, known):
            raise DownloadError(
                f"{found}: not the file that was expected; its sum is "
                f"{_sum(found, known.partition(':')[0])}, expected {known}"
            )
        target = self.root / file.kept
        if file.unpacked or (target.is_file() and os.path.samefile(found, target)):
            return found
        self.say(f"  {file.name}: copying {found}")
        with atomic_path(target) as temporary:
            shutil.copyfile(found, temporary)
        return target

    def _published_sum(self, file: RemoteFile, optional: bool) -> str | None:
        """Return the sum that the record lists, and keep it; None if it need not be in reach."""
        assert file.doi is not None
        url = f"https://zenodo.org/api/records/{file.doi.rpartition('.')[2]}"
        record: dict[str, Any] = {}

        def attempt() -> None:
            response = requests.get(url, timeout=_download.TIMEOUT)
            check_answer(response, url)
            record.update(response.json())

        try:
            persist(attempt, url, attempts=1 if optional else None)
        except DownloadError:
            if optional:
                return None
            raise
        try:
            sums = {str(entry["key"]): str(entry["checksum"]) for entry in record["files"]}
            known = sums[file.name]
        except (KeyError, TypeError) as error:
            raise DownloadError(
                f"{url}: the record of doi:{file.doi} lists no {file.name} with a sum; see "
                f"{file.url}"
            ) from error
        about = record.get("metadata", {}).get("license", {}).get("id")
        licence = {"licence": str(about)} if about else {}
        if licence:
            self.say(f"  licence, as the record states it: {about}")
        self._write_record(file, sum=known, told_by=f"doi:{file.doi}", **licence)
        return known

    def _unpack(self, file: RemoteFile, archive: Path, value: str) -> None:
        target, largest = self.root / file.to, MARGIN * file.unpacked
        _unpacked_list(self.root, file).unlink(missing_ok=True)
        if file.unpacked_sum is not None:
            gunzip(archive, target, largest, file.unpacked_sum)
            sizes = {target.name: target.stat().st_size}
        else:
            sizes = unpack(archive, target, largest, file.holds)
        write_json(_unpacked_list(self.root, file), {"sum": value, "files": sizes})
        self.say(f"  {target}: {len(sizes)} file(s), {human_size(sum(sizes.values()))}")


def _sums(root: Path) -> Path:
    return root / "downloads" / "sums.json"


def _unpacked_list(root: Path, file: RemoteFile) -> Path:
    return root / "downloads" / f"{file.name}.unpacked.json"


def _unpacked(root: Path, file: RemoteFile) -> tuple[str | None, dict[str, int]]:
    """Return the sum that an archive had when it was unpacked, and the sizes of its files."""
    record = _read_json(_unpacked_list(root, file))
    return record.get("sum"), record.get("files", {})


def _read_json(path: Path) -> dict[str, Any]:
    """Return what was recorded; a record that cannot be read counts as none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _sum(path: Path, algorithm: str = "sha256") -> str:
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _has_sum(path: Path, known: str) -> bool:
    return path.is_file() and has_sum(path, known)
