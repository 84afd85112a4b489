"""Fetching data sets, the paper's files and networks: checked, resumable, unpacked safely.

Under the root folder (`default_root`, or one that the caller names):

- ``openmic-2018/``, ``IRMAS-TrainingData/``: the unpacked data sets;
- ``paper/``: the published embeddings and the published split;
- ``models/``: the networks;
- ``downloads/``: the archives, and records of their sums (``sums.json``) and of what was unpacked
  (``<archive>.unpacked.json``). Archives may be deleted once they are unpacked.

Downloads go on where they broke off, which pooch's do not. They are built on requests, which
honours the usual variables of the environment (``HTTPS_PROXY``, ``NO_PROXY``,
``REQUESTS_CA_BUNDLE``).
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import requests
from requests import exceptions as failures
from tqdm import tqdm

from biasmir_utils import __version__
from biasmir_utils.datasets import base
from biasmir_utils.datasets.base import MARGIN, RemoteFile, file_sum, has_sum
from biasmir_utils.errors import ArgumentError, DownloadError, LockedError
from biasmir_utils.files import atomic_path, json_object, locked, move_files, write_json

MIRROR_VARIABLE = "BIASMIR_BASE_URL"
ATTEMPTS = 5
"""Connections that may fail one after the other."""
WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second connection, doubled before each further one, and the most of them."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection has failed."""
SLOWEST = 300.0
"""Seconds after which it has failed, too, if it brought no answer or less than 64 kB more."""
MOST_MEMBERS = 100_000
"""Files and folders above which an archive is not unpacked."""
# Small enough that a dropped connection loses little of what had come.
_CHUNK = 1 << 16
# A connection that brought this much was no failure, so that a large file over a bad line
# gets as many connections as it needs.
_PROGRESS = 1 << 20
_OTHER_WAYS = (
    "behind a proxy, set HTTPS_PROXY (and REQUESTS_CA_BUNDLE, if it opens connections); a mirror "
    "(--base-url URL) or files fetched by other means (--from DIR) will do, too"
)
# Every way in which the standard library says that an archive is broken; a password is a
# RuntimeError, and so is a compression that Python has not.
_BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error),
    *(EOFError, RuntimeError, ValueError),
)


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
    told = f"{lock.parent}: another process fetches here; waiting for it, {wait:.0f} s at most"
    results: dict[str, Path] = {}
    try:
        with locked(lock, wait=wait, waiting=lambda: say(told)):
            for dataset in asked:
                licence = base.stated_licence(place, dataset)
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

    def bring(self, file: RemoteFile) -> None:
        """Bring a file, unless it is there."""
        place = self.root / file.to
        known, unchecked = self._known(file)
        whole = file.unpacked and base.is_whole(self.root, file, known)
        if whole or (not file.unpacked and has_sum(place, known)):
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

    def record(self, file: RemoteFile) -> dict[str, Any]:
        """Return what was noted of a file when it was brought."""
        return dict(json_object(self.root / base.SUMS).get(file.name, {}))

    def _write_record(self, file: RemoteFile, **entry: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        sums = {**json_object(self.root / base.SUMS), file.name: {**entry, "date": now}}
        write_json(self.root / base.SUMS, sums)

    def _known(self, file: RemoteFile) -> tuple[str | None, bool]:
        """Return the sum of a file, and whether nobody vouches for it though somebody could.

        It is told by the table, by the record `doi`, or by the first download.
        """
        record = self.record(file)
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
        if record and place.is_file() and not has_sum(place, known):
            self.say(
                f"  WARNING: {place}: NOT the file that doi:{file.doi} publishes, which has "
                f"{known}. What was made from it is to be made anew"
            )
        return known, False

    def _published_sum(self, file: RemoteFile, attempts: int | None) -> str:
        """Return the sum that the record `doi` lists, and keep it."""
        url = f"https://zenodo.org/api/records/{str(file.doi).rpartition('.')[2]}"
        with TemporaryDirectory() as folder:
            place = Path(folder) / "record.json"
            download(url, place, MARGIN * 1_000_000, attempts=attempts)
            record = json_object(place)
        try:
            known = {str(one["key"]): str(one["checksum"]) for one in record["files"]}[file.name]
        except (KeyError, TypeError) as error:
            raise DownloadError(
                f"{url}: the record of doi:{file.doi} lists no {file.name} with a sum; see "
                f"{file.url}"
            ) from error
        about = record.get("metadata", {}).get("license", {}).get("id")
        if about:
            self.say(f"  licence, as the record states it: {about}")
        self._write_record(file, sum=known, told_by=f"doi:{file.doi}", licence=about)
        return known

    def _bring_anew(self, file: RemoteFile, known: str | None, unchecked: bool) -> None:
        self._check_space(file)
        place = self._take(file, known) if self.from_dir else self._download(file, known)
        value = known or file_sum(place)
        if file.unpacked:
            record = base.unpacked_record(self.root, file)
            record.unlink(missing_ok=True)
            try:
                sizes = unpack(file, place, self.root)
            except ArchiveError:
                # Without a sum to vouch for it, the next call had better download it anew.
                if known is None and self.from_dir is None:
                    place.unlink(missing_ok=True)
                raise
            write_json(record, {"sum": value, "files": sizes})
            size = human_size(sum(sizes.values()))
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

    def _check_space(self, file: RemoteFile) -> None:
        there = _size(self.root / file.kept) + _size(self.root / f"{file.kept}.partial")
        size = file.unpacked + (max(file.size - there, 0) if self.from_dir is None else 0)
        free = shutil.disk_usage(self.root).free
        if free < size:
            raise DownloadError(
                f"{self.root}: fetching {file.name} takes about {human_size(size)}, and "
                f"{human_size(free)} are free; make room, or choose another disk "
                f"(--root DIR)"
            )

    def _download(self, file: RemoteFile, known: str | None) -> Path:
        place = self.root / file.kept
        was = known or self.record(file).get("sum")
        if place.is_file() and (was is None or has_sum(place, was)):
            return place
        url = f"{self.mirror}/{quote(file.name)}" if self.mirror else file.url
        size = f" (about {human_size(file.size)})" if file.size else ""
        self.say(f"  {file.name}: downloading{size} from {url}")
        place.parent.mkdir(parents=True, exist_ok=True)
        download(url, place, MARGIN * file.size or base.LARGEST_UNKNOWN, known)
        return place

    def _take(self, file: RemoteFile, known: str | None) -> Path:
        """Check a file of the folder that the user named, and copy it unless it is unpacked."""
        assert self.from_dir is not None
        places = [self.from_dir / file.name, self.from_dir / file.kept]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DownloadError(
                f"{places[0]}: no such file; get it from {file.url} by other means and put it there"
            )
        if known is not None and not has_sum(found, known):
            raise DownloadError(
                f"{found}: not the file that was expected; its sum is "
                f"{file_sum(found, known.partition(':')[0])}, expected {known}"
            )
        target = self.root / file.kept
        if file.unpacked or (target.is_file() and os.path.samefile(found, target)):
            return found
        self.say(f"  {file.name}: copying {found}")
        with atomic_path(target) as temporary:
            shutil.copyfile(found, temporary)
        return target


class PassingError(Exception):
    """A failure that may be gone at the next try, in `asked` seconds or later."""

    def __init__(self, reason: object, asked: float = 0.0) -> None:
        super().__init__(reason)
        self.asked = asked


class ArchiveError(DownloadError):
    """An archive is damaged, or is not to be trusted."""


def human_size(count: float) -> str:
    """Return a number of bytes for people, e.g. ``2.6 GB`` (powers of 1,000)."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def download(
    url: str,
    target: Path,
    largest: float,
    known: str | None = None,
    attempts: int | None = None,
) -> None:
    """Bring a file from its address to `target`, whole and with its sum.

    What has come stands in a ``.partial`` file until then, and beside it what the server said of
    the whole (address, ETag, date, length). A download goes on only where the server still says
    the same; otherwise it starts anew.

    Parameters
    ----------
    url : str
        The address.
    target : pathlib.Path
        The final name, in a folder that exists.
    largest : float
        Bytes above which the file cannot be what it should.
    known : str, optional
        The sum that it must have.
    attempts : int, optional
        Connections that may fail one after the other, `ATTEMPTS` by default; a failure after
        1 MB more starts the count anew.

    Raises
    ------
    DownloadError
        Naming the address, and what to do.
    """
    partial = target.with_name(target.name + ".partial")
    resumed = _size(partial) > 0
    failed, had = 0, _size(partial)
    while True:
        try:
            _connect(url, partial, largest)
            break
        except PassingError as failure:
            now = _size(partial)
            failed = 1 if now - had >= _PROGRESS else failed + 1
            had = max(had, now)
            if failed >= (attempts or ATTEMPTS):
                raise DownloadError(
                    f"{url}: {failure} ({failed} attempt(s)); try again later"
                    + (f", it goes on from {human_size(now)}" if now else "")
                    + f"; {_OTHER_WAYS}"
                ) from failure
            time.sleep(min(max(WAIT * 2 ** (failed - 1), failure.asked), LONGEST_WAIT))
    if known is None or has_sum(partial, known):
        os.replace(partial, target)
        _discard(partial)
        return
    found = file_sum(partial, known.split(":")[0])
    _discard(partial)
    if not resumed:
        raise DownloadError(
            f"{url}: not the file that was expected, what came was deleted (its sum is {found}, "
            f"expected {known}); try again; if it stays so, the file has changed or something "
            f"alters it on the way"
        )
    download(url, target, largest, known, attempts)  # the parts of two downloads do not fit


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _notes(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _discard(partial: Path) -> None:
    for path in (partial, _notes(partial)):
        path.unlink(missing_ok=True)


def _connect(url: str, partial: Path, largest: float) -> None:
    """Bring the rest of a file over one connection."""
    said, have = json_object(_notes(partial)), _size(partial)
    length = said.get("length") or 0
    if said.get("url") != url or not isinstance(length, int) or not 0 < have <= length:
        _discard(partial)
        said, have = {}, 0
    elif have == length:
        return
    headers = {"User-Agent": f"biasmir/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        weak = (said["etag"] or "W/").startswith("W/")
        if validator := said["modified"] if weak else said["etag"]:
            headers["If-Range"] = validator
    try:
        response = _in_time(
            lambda: requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        )
        try:
            _check_answer(response, url)
            if response.status_code == 200:
                _discard(partial)
                stated, have = response.headers.get("Content-Length", ""), 0
                said = {
                    "url": url,
                    "etag": response.headers.get("ETag"),
                    "modified": response.headers.get("Last-Modified"),
                    "length": int(stated) if stated.isdigit() else None,
                }
                write_json(_notes(partial), said)
            elif (
                not have
                or response.headers.get("Content-Range") != f"bytes {have}-{length - 1}/{length}"
                or response.headers.get("ETag") not in (None, said["etag"])
            ):
                _discard(partial)
                raise PassingError("the file at this address changed in between")
            _write(response, url, partial, said["length"], largest)
        finally:  # in a thread, since it waits for one that reads
            threading.Thread(target=response.close, daemon=True).start()
    except (failures.SSLError, failures.TooManyRedirects, ValueError) as error:
        raise DownloadError(f"{url}: cannot be fetched ({error}); {_OTHER_WAYS}") from error
    except failures.Timeout as error:
        raise PassingError(f"no answer for {TIMEOUT:g} s") from error
    except requests.RequestException as error:
        raise PassingError(f"no connection, or it broke off ({error})") from error


def _in_time(work: Callable[[], Any]) -> Any:
    """Do what waits for the net in a thread: single bytes may keep a connection up for ever."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # raised where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return done.result(SLOWEST)
    except TimeoutError as error:
        raise PassingError(f"no answer, or less than 64 kB, in {SLOWEST:g} s") from error


def _write(
    response: requests.Response, url: str, partial: Path, total: int | None, largest: float
) -> None:
    """Write what comes behind what has come."""
    have = _size(partial)
    bar = tqdm(
        desc=partial.stem, initial=have, total=total, unit="B", unit_scale=True, disable=None
    )
    with open(partial, "ab") as out, bar:
        chunks = response.iter_content(_CHUNK)
        while chunk := _in_time(lambda: next(chunks, b"")):
            have += len(chunk)
            if max(have, total or 0) > largest:
                _discard(partial)
                raise DownloadError(
                    f"{url}: larger than {human_size(largest)}, which this file cannot be; "
                    f"something else is at this address now"
                )
            out.write(chunk)
            bar.update(len(chunk))
    if total is not None and have < total:  # urllib3 before 2.0 does not say so itself
        raise PassingError(f"broke off after {have} of {total} bytes")


def _check_answer(response: requests.Response, url: str) -> None:
    """Raise DownloadError or PassingError unless the answer brings the file."""
    status = f"the server or a proxy answered {response.status_code} {response.reason}"
    if response.status_code in (408, 425, 429, 500, 502, 503, 504):
        asked = response.headers.get("Retry-After", "")
        raise PassingError(status, float(asked) if asked.isdigit() else 0.0)
    if response.status_code not in (200, 206, 416):
        raise DownloadError(f"{url}: {status}; {_OTHER_WAYS}")
    addresses = [step.url for step in response.history] + [response.url]
    if url.startswith("https:") and any(not step.startswith("https:") for step in addresses):
        raise DownloadError(f"{url}: redirected to an unprotected address, {addresses[-1]}")
    if "text/html" in response.headers.get("Content-Type", "").lower():
        raise DownloadError(
            f"{url}: a web page came, not a file; a network that asks to log in does this, open "
            f"a browser to see"
        )


def unpack(file: RemoteFile, archive: Path, root: Path) -> dict[str, int]:
    """Unpack an archive into its folder under the root.

    Files that the folder already holds are replaced one by one where the archive has them, and
    left where it has not, so that nothing of the user's is lost.

    Parameters
    ----------
    file : RemoteFile
        Tells where to, how many bytes it may become, and what has to be in it. A folder in the
        archive of the target's name becomes it; without one, the whole content does.
    archive : pathlib.Path
        The archive.
    root : pathlib.Path
        The folder of fetched files.

    Returns
    -------
    dict
        The size in bytes of each file, by its path inside `RemoteFile.folder` (with ``/``).

    Raises
    ------
    ArchiveError
        If the archive is damaged, has a member or a link that leads outside, a device, too many
        bytes or members, or not what it should hold. Nothing is left then.
    """
    # A link to another disk: unpack on that disk.
    target = Path(os.path.realpath(root / file.folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    with TemporaryDirectory(".partial", f".{target.name}.", target.parent) as temporary:
        folder = Path(temporary) / "content"
        folder.mkdir()
        try:
            _extract(archive, folder, MARGIN * file.unpacked, Path(file.to).name)
        except _BROKEN as error:
            raise ArchiveError(
                f"{archive}: damaged, no archive of this kind, or not to be trusted "
                f"({error or type(error).__name__}); delete it and fetch it again"
            ) from error
        inside = folder / target.name if (folder / target.name).is_dir() else folder
        absent = [name for name in file.holds if not (inside / name).exists()]
        if absent:
            raise ArchiveError(
                f"{archive}: has no {absent[0]}, so it is not what was expected; delete it and "
                f"fetch it again"
            )
        paths = [path for path in inside.rglob("*") if path.is_file()]
        sizes = {path.relative_to(inside).as_posix(): path.stat().st_size for path in paths}
        if target.exists():
            move_files(inside, target)
        else:
            os.replace(inside, target)
    return sizes


class _Bounded(gzip.GzipFile):
    """The content of a gz, of which no more than `largest` bytes are given to anybody."""

    def __init__(self, archive: Path, largest: int) -> None:
        super().__init__(archive, "rb")
        self.archive, self.largest = archive, largest

    def read(self, size: int | None = -1) -> bytes:
        left = self.largest - self.tell()
        data = super().read(left + 1 if size is None or size < 0 else min(size, left + 1))
        if len(data) > left:
            raise _too_large(self.archive, self.largest)
        return data


def _too_large(archive: Path, largest: int) -> ArchiveError:
    return ArchiveError(
        f"{archive}: unpacks to more than {human_size(largest)}, more than it can hold; not "
        f"unpacked, do not trust this archive"
    )


def _extract(archive: Path, folder: Path, largest: int, name: str) -> None:
    """Unpack a zip, tar.gz or gz; of a gz into the file `name`."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            # Python reads no more of a member than is declared, so the sum is a bound.
            if sum(member.file_size for member in opened.infolist()) > largest:
                raise _too_large(archive, largest)
            for path in _wanted(archive, opened.namelist()):
                opened.extract(path, folder)
        return
    with _Bounded(archive, largest) as stream:
        if not archive.name.endswith((".tgz", ".tar.gz")):
            with open(folder / name, "wb") as out:
                shutil.copyfileobj(stream, out)
            return
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            for member in _wanted(archive, opened):
                opened.extract(member, folder, filter="data")
        while stream.read(_CHUNK):  # to the end, where gzip keeps its own check of the content
            pass


def _wanted(archive: Path, members: Iterable[Any]) -> Iterator[Any]:
    """Yield members but for litter of other systems; refuse what no archive can have."""
    bar = tqdm(members, desc=f"unpacking {archive.name}", unit=" files", disable=None)
    for number, member in enumerate(bar):
        name = getattr(member, "name", member)  # a zip gives names
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or ".." in parts:
            raise ArchiveError(
                f"{archive}: the member {name!r} climbs out of its folder; not unpacked, do not "
                f"trust this archive"
            )
        if number >= MOST_MEMBERS:
            raise ArchiveError(f"{archive}: more than {MOST_MEMBERS} members; not unpacked")
        if not any(part in ("__MACOSX", ".DS_Store") or part.startswith("._") for part in parts):
            yield member
