"""Fetching data sets, the paper's files and networks: checked, resumable, unpacked safely.

Under the root folder (`default_root`, or one that the caller names):

- ``openmic-2018/``, ``IRMAS-TrainingData/``: the unpacked data sets;
- ``paper/``: the published embeddings and the published split;
- ``models/``: the networks;
- ``downloads/``: the archives, and records of their sums and of what was unpacked. Archives may
  be deleted once they are unpacked.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import pooch
from tqdm import tqdm

from biasmir_utils.corpus import cache_folder
from biasmir_utils.datasets.archives import ArchiveError, Bounds, gunzip, unpack
from biasmir_utils.datasets.disk import full_disk_as_error, human_size, only_one, require_space
from biasmir_utils.datasets.download import Patience, ResumingDownloader
from biasmir_utils.datasets.records import DOWNLOADS, Records, Unpacking
from biasmir_utils.datasets.registry import Product, Registry, RemoteFile, Source
from biasmir_utils.datasets.sums import (
    RecordError,
    has_sum,
    pooch_sum,
    published_sum,
    quiet_pooch,
    stated_licence,
)
from biasmir_utils.errors import ArgumentError, DownloadError
from biasmir_utils.files import atomic_path

ROOT_VARIABLE = "BIASMIR_DATA"
MIRROR_VARIABLE = "BIASMIR_BASE_URL"


def default_root() -> Path:
    """Return where fetched files go: `$BIASMIR_DATA`, or `data` in the cache folder.

    The cache folder is `$BIASMIR_CACHE`, or the one that the system gives each user (on Linux
    ``~/.cache/biasmir``).
    """
    named = os.environ.get(ROOT_VARIABLE)
    return Path(named).expanduser() if named else cache_folder() / "data"


def fetch(
    sources: Sequence[str],
    root: str | os.PathLike[str] | None = None,
    *,
    base_url: str | None = None,
    from_dir: str | os.PathLike[str] | None = None,
    registry: Registry | None = None,
    patience: Patience | None = None,
    keep_archives: bool = True,
    wait: float = 0.0,
    say: Callable[[str], object] = print,
) -> dict[str, Path]:
    """Bring sources to disk, checked against their sums; what is there already is left alone.

    Parameters
    ----------
    sources : sequence of str
        Names in the registry: openmic, irmas, paper-embeddings, paper-split, models.
    root : path, optional
        The folder to fill; by default `default_root`.
    base_url : str, optional
        A mirror, which has every file right under this address; by default
        `$BIASMIR_BASE_URL`, or the files' own addresses.
    from_dir : path, optional
        A folder that has the files already (or is the root of another machine): nothing is
        downloaded. It is never written to.
    registry : Registry, optional
        The table of sources; by default the project's.
    patience : Patience, optional
        Attempts, waits and time-outs.
    keep_archives : bool
        Whether archives stay once they are unpacked.
    wait : float
        Seconds to wait for another call that is at work in the same root.
    say : callable
        Receives each line meant for the user: the licence, what was done, where it is.

    Returns
    -------
    dict
        The file or folder that each remote file became, by the remote file's name.

    Raises
    ------
    DownloadError
        Naming the file or address, and what to do. What stands under a final name is whole
        then, and the next call goes on.
    ArgumentError
        If a source or an argument is unknown.
    """
    registry = registry or Registry.load()
    asked = [registry[name] for name in dict.fromkeys(sources)]
    mirror = base_url if base_url is not None else os.environ.get(MIRROR_VARIABLE)
    if mirror and not mirror.startswith(("http://", "https://")):
        raise ArgumentError(f"base URL {mirror!r}: expected an http:// or https:// address")
    if from_dir is not None and not Path(from_dir).is_dir():
        raise ArgumentError(f"{from_dir}: no such folder; it should hold the files to use")
    place = Path(root).expanduser() if root is not None else default_root()
    work = _Fetching(
        place.absolute(),
        mirror.rstrip("/") if mirror else None,
        None if from_dir is None else Path(from_dir),
        patience or Patience(),
        keep_archives,
        say,
    )
    results: dict[str, Path] = {}
    try:
        with only_one(work.downloads, wait, say), quiet_pooch():
            for source in asked:
                results.update(work.source(source))
    except OSError as error:
        raise DownloadError(
            f"{error.filename or place}: {error.strerror or error}; choose a folder that can be "
            f"written (--root DIR)"
        ) from error
    return results


def fetched_model(name: str, root: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the SavedModel folder (or the weight file, for openl3) that was fetched, or None."""
    folder = (Path(root).expanduser() if root is not None else default_root()) / "models" / name
    if name == "openl3":
        found = sorted(folder.glob("*.h5"))
        return found[0] if found else None
    return folder if (folder / "saved_model.pb").is_file() else None


class _Fetching:
    """One call of `fetch`."""

    def __init__(
        self,
        root: Path,
        mirror: str | None,
        from_dir: Path | None,
        patience: Patience,
        keep_archives: bool,
        say: Callable[[str], object],
    ) -> None:
        self.root, self.mirror, self.from_dir = root, mirror, from_dir
        self.patience, self.keep_archives, self.say = patience, keep_archives, say
        self.downloads = root / DOWNLOADS
        self.records = Records(self.downloads)

    def source(self, source: Source) -> dict[str, Path]:
        stated = [self.records.licence(file.name) for file in source.files]
        licence = ", ".join(dict.fromkeys(one for one in stated if one)) or source.licence
        self.say(f"{source.title}\n  licence: {licence}\n  {source.page}")
        for file in source.files:
            if file.doi is not None and self.records.unchecked(file.name):
                self._make_up_check(file)
        needed = [file for file in source.files if not self._ready(file)]
        self._check_space(source, needed)
        for file in source.files:
            if file in needed:
                self._bring(file)
            elif self.records.unchecked(file.name):
                self.say(f"  {self.root / file.result}: there already")
                self._warn_unchecked(file)
            else:
                self.say(f"  {self.root / file.result}: there already, checked")
        return {file.name: self.root / file.result for file in source.files}

    def _known_sum(self, file: RemoteFile) -> str | None:
        return file.sum or self.records.sum(file.name)

    def _ready(self, file: RemoteFile) -> bool:
        known = self._known_sum(file)
        result = self.root / file.result
        if file.product is None:
            return known is not None and result.is_file() and has_sum(result, known)
        done = self.records.unpacking(file.name)
        if done is None or known not in (None, done.sum):
            return False
        folder = result if file.unpack else result.parent
        return done.intact(folder) and (
            file.product.sum is None or has_sum(result, file.product.sum)
        )

    def _make_up_check(self, file: RemoteFile) -> None:
        """Check a file that came while its published sum could not be asked for."""
        value = self._sum_from_doi(file, optional=True)
        place = self.root / file.to
        if value is None or not place.is_file():
            return
        if has_sum(place, value):
            self.say(f"  {place}: checked now, it has the sum that doi:{file.doi} publishes")
            return
        if self.from_dir is not None and place.resolve().is_relative_to(self.from_dir.resolve()):
            aside = place  # that folder is never written to
        else:
            aside = place.with_name(place.name + ".wrong")
            os.replace(place, aside)
        self.say(
            f"  WARNING: {aside}: NOT the file that doi:{file.doi} publishes, which has {value}. "
            f"What was made from it is to be made anew"
        )

    def _warn_unchecked(self, file: RemoteFile) -> None:
        self.say(
            f"  WARNING: {file.name} is UNCHECKED: its published sum could not be asked for "
            f"(doi:{file.doi} was not reached), so nothing says that it is the right file. Call "
            f"`biasmir fetch` again where doi.org and zenodo.org can be reached; the check is made "
            f"up then"
        )

    def _check_space(self, source: Source, needed: Sequence[RemoteFile]) -> None:
        size = sum(file.product.size for file in needed if file.product)
        for file in needed:
            if self.from_dir is None:
                have = [self.root / file.to, self._partial(file)]
                size += max(file.size - sum(p.stat().st_size for p in have if p.is_file()), 0)
            elif file.product is None:
                size += self._on_disk(file).stat().st_size
        if size:
            require_space(self.root, size, f"fetching {source.name}")

    def _bring(self, file: RemoteFile) -> None:
        known = self._known_sum(file)
        if self.records.unchecked(file.name) and not (self.root / file.result).is_file():
            known = None  # nobody vouches for what was there
        if known is None and file.doi is not None:
            optional = self.mirror is not None or self.from_dir is not None
            known = self._sum_from_doi(file, optional)
        place = self._download(file, known) if self.from_dir is None else self._take(file, known)
        value = known or pooch_sum(place)
        if file.product is not None:
            try:
                self._unpack(file, file.product, place, value)
            except ArchiveError:
                # Without a sum to vouch for it, the next call had better download it anew.
                if known is None and self.from_dir is None:
                    place.unlink(missing_ok=True)
                raise
        if known is None and file.doi is not None:
            self.records.record_unchecked(file.name, value, file.result)
        elif known is None:
            self.records.record_sum(file.name, value, "the first download")
            self.say(
                f"  {file.name}: no sum is published for it; {value} was recorded at this first "
                f"download, and is checked from now on"
            )
        if self.records.unchecked(file.name):
            self._warn_unchecked(file)
        if file.product is not None and not self.keep_archives and self.from_dir is None:
            place.unlink()

    def _partial(self, file: RemoteFile) -> Path:
        place = self.root / file.to
        return place.with_name(place.name + ".partial")

    def _download(self, file: RemoteFile, known: str | None) -> Path:
        place = self.root / file.to
        url = f"{self.mirror}/{quote(file.name)}" if self.mirror else file.url
        keeper = pooch.create(
            path=place.parent,
            base_url=url.rpartition("/")[0],
            registry={place.name: known},
            urls={place.name: url},
        )
        downloader = ResumingDownloader(self._partial(file), self.patience, file.largest)
        if not place.is_file() or (known and not has_sum(place, known)):
            size = f" (about {human_size(file.size)})" if file.size else ""
            self.say(f"  {file.name}: downloading{size} from {url}")
        try:
            try:
                keeper.fetch(place.name, downloader=downloader)
            except ValueError:
                if not downloader.resumed:
                    raise
                self.say(f"  {file.name}: the parts of two downloads do not fit; starting again")
                keeper.fetch(place.name, downloader=downloader)
        except ValueError as error:
            raise DownloadError(
                f"{url}: not the file that was expected, what came was deleted ({error}); try "
                f"again; if it stays so, the file has changed or something alters it on the way"
            ) from error
        return place

    def _on_disk(self, file: RemoteFile) -> Path:
        """Return a file of the folder that the user named."""
        assert self.from_dir is not None
        places = [self.from_dir / file.name, self.from_dir / file.to]
        for place in places:
            if place.is_file():
                return place
        raise DownloadError(
            f"{places[0]}: no such file; get it from {file.url} by other means and put it there"
        )

    def _take(self, file: RemoteFile, known: str | None) -> Path:
        """Check a file that is on disk already, and copy it unless it is only to be unpacked."""
        found, target = self._on_disk(file), self.root / file.to
        if known is not None and not has_sum(found, known):
            raise DownloadError(
                f"{found}: not the file that was expected; its sum is "
                f"{pooch_sum(found, known.partition(':')[0])}, expected {known}"
            )
        same = target.is_file() and os.path.samefile(found, target)
        if file.product is not None or same:
            return found
        self.say(f"  {file.name}: copying {found}")
        with full_disk_as_error(target, "nothing was left"), atomic_path(target) as temporary:
            shutil.copyfile(found, temporary)
        return target

    def _sum_from_doi(self, file: RemoteFile, optional: bool) -> str | None:
        """Return the sum that the record's interface lists; None if it need not be in reach."""
        assert file.doi is not None
        patience = (
            Patience(attempts=1, timeout=self.patience.timeout) if optional else self.patience
        )
        try:
            value = published_sum(file.doi, file.name, patience, self.downloads)
        except RecordError as error:
            raise DownloadError(f"{error}; see {file.url}") from error
        except DownloadError:
            if not optional:
                raise
            return None
        licence = stated_licence(file.doi, self.patience)
        if licence is not None:
            self.say(f"  licence, as the record states it: {licence}")
        self.records.record_sum(file.name, value, f"doi:{file.doi}", licence=licence)
        return value

    def _unpack(self, file: RemoteFile, product: Product, archive: Path, value: str) -> None:
        target = self.root / product.to
        self.records.forget_unpacking(file.name)
        if file.gunzip is not None:
            gunzip(archive, target, product.largest, lambda path: _check(path, product.sum, target))
            files = {target.name: target.stat().st_size}
        else:
            bounds = Bounds(product.largest, product.members)
            with tqdm(
                desc=target.name, total=product.size, unit="B", unit_scale=True, disable=None
            ) as bar:
                files = unpack(
                    archive,
                    target,
                    bounds,
                    top=target.name,
                    holds=product.holds,
                    progress=bar.update,
                )
        self.records.record_unpacking(file.name, Unpacking(value, files))
        self.say(f"  {target}: {len(files)} file(s), {human_size(sum(files.values()))}")


def _check(path: Path, known: str | None, name: Path) -> None:
    if known is not None and not has_sum(path, known):
        raise ArchiveError(
            f"{name}: what the archive holds is not the file that was expected; its sum is "
            f"{pooch_sum(path, known.partition(':')[0])}, expected {known}"
        )
