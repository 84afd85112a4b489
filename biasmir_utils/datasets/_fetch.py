"""Fetching data sets, the paper's files and networks: checked, resumable, unpacked safely.

Under the root folder (`default_root`, or one that the caller names):

- ``openmic-2018/``, ``IRMAS-TrainingData/``: the unpacked data sets;
- ``paper/``: the published embeddings and the published split;
- ``models/``: the networks;
- ``downloads/``: the archives, and records of their sums (``sums.json``) and of what was unpacked
  (``<archive>.unpacked.json``). Archives may be deleted once they are unpacked.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from biasmir_utils.datasets import _download, base
from biasmir_utils.errors import ArgumentError, DownloadError, LockedError
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
    asked = [
        base.find_dataset(n, "source", lambda dataset: dataset.files) for n in dict.fromkeys(names)
    ]
    mirror = base_url if base_url is not None else os.environ.get(MIRROR_VARIABLE)
    if mirror and not mirror.startswith(("http://", "https://")):
        raise ArgumentError(f"base URL {mirror!r}: expected an http:// or https:// address")
    if from_dir is not None and not Path(from_dir).is_dir():
        raise ArgumentError(f"{from_dir}: no such folder; it should hold the files to use")
    place = base.default_root(root).absolute()
    folder = None if from_dir is None else Path(from_dir)
    work = _Fetching(place, (mirror or "").rstrip("/"), folder, keep_archives, say)
    lock = place / "downloads" / ".lock"

    def waiting() -> None:
        say(f"{lock.parent}: another process fetches here; waiting for it, {wait:.0f} s at most")

    results: dict[str, Path] = {}
    try:
        with locked(lock, wait=wait, waiting=waiting):
            for dataset in asked:
                licence = work.stated_licence(dataset.files) or dataset.licence
                say(f"{dataset.title}\n  licence: {licence}\n  {dataset.page}")
                for file in dataset.files:
                    if not files or file.name in files:
                        work.bring(file)
                        results[file.name] = place / file.to
    except LockedError as error:
        raise DownloadError(
            f"{lock.parent}: another `biasmir fetch` is at work here; wait until it is done"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{error.filename or place}: {error.strerror or error}; what had come is kept. Make "
            f"room, or choose a folder that can be written (--root DIR), and try again"
        ) from error
    return results


@dataclass
class _Fetching:
    """One call of `fetch`."""

    root: Path
    mirror: str
    from_dir: Path | None
    keep_archives: bool
    say: Callable[[str], object]

    def stated_licence(self, files: Sequence[base.RemoteFile]) -> str:
        """Return the licence that the record of a file stated when its sum was asked for."""
        records = (self._record(file) for file in files)
        return ", ".join(dict.fromkeys(r["licence"] for r in records if "licence" in r))

    def bring(self, file: base.RemoteFile) -> None:
        """Bring a file, unless it is there."""
        place = self.root / file.to
        known, unchecked = self._known(file)
        whole = file.unpacked and base.is_whole(self.root, file, known)
        if whole or (not file.unpacked and _download.has_sum(place, known)):
            self.say(f"  {place}: there already{'' if unchecked else ', checked'}")
        else:
            self._bring_anew(file, None if unchecked else known, unchecked)
        if unchecked:
            self.say(
                f"  WARNING: {file.name} is UNCHECKED: its published sum could not be asked for "
                f"(doi:{file.doi} was not reached), so nothing says that it is the right file. "
                f"Call `biasmir fetch` again where zenodo.org can be reached; the check is made "
                f"up then"
            )

    def _record(self, file: base.RemoteFile) -> dict[str, Any]:
        return dict(base.fetch_record(self.root / base.SUMS).get(file.name, {}))

    def _write_record(self, file: base.RemoteFile, **entry: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        sums = {**base.fetch_record(self.root / base.SUMS), file.name: {**entry, "date": now}}
        write_json(self.root / base.SUMS, sums)

    def _known(self, file: base.RemoteFile) -> tuple[str | None, bool]:
        """Return the sum of a file, and whether nobody vouches for it though somebody could.

        It is told by the table, by the record `doi`, or by the first download.
        """
        record = self._record(file)
        was = record.get("sum")
        if file.sum or file.doi is None or (record and not record.get("unchecked")):
            return file.sum or was, False
        # Files from elsewhere may come where the record is out of reach.
        optional = bool(record) or bool(self.mirror) or self.from_dir is not None
        try:
            known = self._published_sum(file, attempts=1 if optional else None)
        except DownloadError:
            if optional:
                return was, True
            raise
        place = self.root / file.to
        if record and place.is_file() and not _download.has_sum(place, known):
            self.say(
                f"  WARNING: {place}: NOT the file that doi:{file.doi} publishes, which has "
                f"{known}. What was made from it is to be made anew"
            )
        return known, False

    def _published_sum(self, file: base.RemoteFile, attempts: int | None) -> str:
        """Return the sum that the record `doi` lists, and keep it."""
        url = f"https://zenodo.org/api/records/{str(file.doi).rpartition('.')[2]}"
        with TemporaryDirectory() as folder:
            place = Path(folder) / "record.json"
            _download.download(url, place, base.MARGIN * 1_000_000, attempts=attempts)
            record = base.fetch_record(place)
        try:
            known = {str(one["key"]): str(one["checksum"]) for one in record["files"]}[file.name]
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

    def _bring_anew(self, file: base.RemoteFile, known: str | None, unchecked: bool) -> None:
        self._check_space(file)
        place = self._take(file, known) if self.from_dir else self._download(file, known)
        value = known or _download.file_sum(place)
        if file.unpacked:
            record = base.unpacked_record(self.root, file)
            record.unlink(missing_ok=True)
            try:
                sizes = _download.unpack(file, place, self.root)
            except _download.ArchiveError:
                # Without a sum to vouch for it, the next call had better download it anew.
                if known is None and self.from_dir is None:
                    place.unlink(missing_ok=True)
                raise
            write_json(record, {"sum": value, "files": sizes})
            size = _download.human_size(sum(sizes.values()))
            self.say(f"  {self.root / file.to}: {len(sizes)} file(s), {size}")
        if unchecked:
            self._write_record(file, sum=value, told_by="nobody", unchecked=True, became=file.to)
        elif known is None:
            self._write_record(file, sum=value, told_by="the first download")
            self.say(
                f"  {file.name}: no sum is published for it; {value} was recorded at this first "
                f"download, and is checked from now on"
            )
        if file.unpacked and not self.keep_archives and self.from_dir is None:
            place.unlink()

    def _check_space(self, file: base.RemoteFile) -> None:
        have = [self.root / file.kept, self.root / f"{file.kept}.partial"]
        there = sum(path.stat().st_size for path in have if path.is_file())
        size = file.unpacked + (max(file.size - there, 0) if self.from_dir is None else 0)
        free = shutil.disk_usage(self.root).free
        if free < size:
            raise DownloadError(
                f"{self.root}: fetching {file.name} takes about {_download.human_size(size)}, and "
                f"{_download.human_size(free)} are free; make room, or choose another disk "
                f"(--root DIR)"
            )

    def _download(self, file: base.RemoteFile, known: str | None) -> Path:
        place = self.root / file.kept
        was = known or self._record(file).get("sum")
        if place.is_file() and (was is None or _download.has_sum(place, was)):
            return place
        url = f"{self.mirror}/{quote(file.name)}" if self.mirror else file.url
        size = f" (about {_download.human_size(file.size)})" if file.size else ""
        self.say(f"  {file.name}: downloading{size} from {url}")
        place.parent.mkdir(parents=True, exist_ok=True)
        _download.download(url, place, base.MARGIN * file.size or base.LARGEST_UNKNOWN, known)
        return place

    def _take(self, file: base.RemoteFile, known: str | None) -> Path:
        """Check a file of the folder that the user named, and copy it unless it is unpacked."""
        assert self.from_dir is not None
        places = [self.from_dir / file.name, self.from_dir / file.kept]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DownloadError(
                f"{places[0]}: no such file; get it from {file.url} by other means and put it there"
            )
        if known is not None and not _download.has_sum(found, known):
            raise DownloadError(
                f"{found}: not the file that was expected; its sum is "
                f"{_download.file_sum(found, known.partition(':')[0])}, expected {known}"
            )
        target = self.root / file.kept
        if file.unpacked or (target.is_file() and os.path.samefile(found, target)):
            return found
        self.say(f"  {file.name}: copying {found}")
        with atomic_path(target) as temporary:
            shutil.copyfile(found, temporary)
        return target
