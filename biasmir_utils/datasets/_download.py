"""Downloads over HTTP that go on where they broke off, which pooch's do not.

They are built on requests, which honours the usual variables of the environment (``HTTPS_PROXY``,
``NO_PROXY``, ``REQUESTS_CA_BUNDLE``).
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from requests import exceptions as failures
from tqdm import tqdm

from biasmir_utils import __version__
from biasmir_utils.errors import DownloadError
from biasmir_utils.files import write_json

ATTEMPTS = 5
"""Connections that may fail one after the other."""
WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second connection, doubled before each further one, and the most of them."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection has failed."""
# Small enough that a dropped connection loses little of what had come.
_CHUNK = 1 << 16
# A connection that brought this much was no failure, so that a large file over a bad line
# gets as many connections as it needs.
_PROGRESS = 1 << 20
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_OTHER_WAYS = (
    "behind a proxy, set HTTPS_PROXY; a mirror (--base-url URL) or files fetched by other means "
    "(--from DIR) will do, too"
)


class PassingError(Exception):
    """A failure that may be gone at the next try, in `asked` seconds or later."""

    def __init__(self, reason: str, asked: float = 0.0) -> None:
        super().__init__(reason)
        self.asked = asked


def human_size(count: float) -> str:
    """Return a number of bytes for people, e.g. ``2.6 GB`` (powers of 1,000)."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def persist(
    attempt: Callable[[], None],
    what: str,
    reached: Callable[[], int] = lambda: 0,
    attempts: int | None = None,
) -> None:
    """Call `attempt` until it raises no `PassingError`, waiting longer each time.

    Parameters
    ----------
    attempt : callable
        The work; requests' own errors are told apart here.
    what : str
        The address, for the message.
    reached : callable
        Bytes that have come so far; a failure after 1 MB more starts the count anew.
    attempts : int, optional
        Connections that may fail one after the other; by default `ATTEMPTS`.

    Raises
    ------
    DownloadError
        After the last attempt.
    """
    failed, had = 0, reached()
    while True:
        try:
            try:
                return attempt()
            except requests.RequestException as error:
                raise _failure(error, what) from error
        except PassingError as failure:
            now = reached()
            failed = 1 if now - had >= _PROGRESS else failed + 1
            had = max(had, now)
            if failed >= (attempts or ATTEMPTS):
                raise DownloadError(
                    f"{what}: {failure} ({failed} attempt(s)); try again later"
                    + (f", it goes on from {human_size(now)}" if now else "")
                    + f"; {_OTHER_WAYS}"
                ) from failure
            time.sleep(min(max(WAIT * 2 ** (failed - 1), failure.asked), LONGEST_WAIT))


class Download:
    """A download that keeps what has come in a ``.partial`` file.

    Beside that file stands what the server said of the whole (address, ETag, date, length), and
    a download goes on only where the server still says the same; otherwise it starts anew.
    Whether the result is right is for its sum to say.

    Parameters
    ----------
    url : str
        The address.
    target : pathlib.Path
        The final name, in a folder that exists.
    largest : int
        Bytes above which the file cannot be what it should.
    """

    def __init__(self, url: str, target: Path, largest: int) -> None:
        self.url, self.target, self.largest = url, target, largest
        self.partial = target.with_name(target.name + ".partial")
        self.notes = target.with_name(target.name + ".partial.json")

    def run(self) -> bool:
        """Bring all of the file to `partial`; tell whether some of it was there before.

        Raises
        ------
        DownloadError
            Naming the address, and what to do.
        """
        resumed = self._reached() > 0
        with requests.Session() as session:
            persist(lambda: self._connect(session), self.url, self._reached)
        return resumed

    def finish(self) -> None:
        """Give what came its final name."""
        os.replace(self.partial, self.target)
        self.notes.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget what came."""
        self.partial.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _reached(self) -> int:
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def _resumable(self) -> dict[str, Any]:
        """Return the notes on a partial file that may go on; otherwise forget it."""
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
            if notes["url"] == self.url and 0 < self._reached() <= notes["length"]:
                return dict(notes)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.discard()
        return {}

    def _connect(self, session: requests.Session) -> None:
        """Bring the rest of the file over one connection."""
        notes, have = self._resumable(), self._reached()
        if notes and have == notes["length"]:
            return
        headers = {"User-Agent": f"biasmir/{__version__}", "Accept-Encoding": "identity"}
        if notes:
            headers["Range"] = f"bytes={have}-"
            strong = notes["etag"] and not notes["etag"].startswith("W/")
            if validator := notes["etag"] if strong else notes["modified"]:
                headers["If-Range"] = validator
        with session.get(self.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            check_answer(response, self.url)
            if response.status_code == 200:
                self.discard()
                length = response.headers.get("Content-Length", "")
                notes = {
                    "url": self.url,
                    "etag": response.headers.get("ETag"),
                    "modified": response.headers.get("Last-Modified"),
                    "length": int(length) if length.isdigit() else None,
                }
                write_json(self.notes, notes)
            elif not _continues(response, notes, have):
                self.discard()
                raise PassingError("the file at this address changed in between")
            self._write(response, notes["length"])

    def _write(self, response: requests.Response, total: int | None) -> None:
        have = self._reached()
        with (
            open(self.partial, "ab") as out,
            tqdm(
                desc=self.target.name,
                initial=have,
                total=total,
                unit="B",
                unit_scale=True,
                disable=None,
            ) as bar,
        ):
            for chunk in response.iter_content(_CHUNK):
                have += len(chunk)
                if max(have, total or 0) > self.largest:
                    self.discard()
                    raise DownloadError(
                        f"{self.url}: larger than {human_size(self.largest)}, which this file "
                        f"cannot be; something else is at this address now"
                    )
                out.write(chunk)
                bar.update(len(chunk))
        if total is not None and have < total:  # urllib3 before 2.0 does not say so itself
            raise PassingError(f"broke off after {have} of {total} bytes")


def _continues(response: requests.Response, notes: dict[str, Any], have: int) -> bool:
    """Tell whether a partial answer is the rest of what is there."""
    said = response.headers.get("Content-Range", "").strip()
    return (
        bool(notes)
        and response.status_code == 206
        and said == f"bytes {have}-{notes['length'] - 1}/{notes['length']}"
        and response.headers.get("ETag") in (None, notes["etag"])
    )


def _failure(error: requests.RequestException, url: str) -> DownloadError | PassingError:
    """Say what went wrong with a connection, and whether to try again."""
    inner = error.args[0] if error.args else error
    reason = re.sub(r"<[^<>]* object at 0x[0-9a-f]+>:? ?", "", str(getattr(inner, "reason", inner)))
    if isinstance(error, failures.JSONDecodeError):
        return PassingError("something else came, no list of files")
    if isinstance(error, failures.SSLError):
        return DownloadError(
            f"{url}: no safe connection ({reason}); check the clock, and behind a proxy that "
            f"opens connections name its certificate in REQUESTS_CA_BUNDLE"
        )
    if isinstance(error, failures.Timeout) or "timed out" in reason.lower():
        return PassingError(f"no answer for {TIMEOUT:g} s")
    if isinstance(error, failures.ConnectionError | failures.ChunkedEncodingError):
        return PassingError(f"no connection, or it broke off ({reason or type(error).__name__})")
    return DownloadError(f"{url}: cannot be fetched ({reason or type(error).__name__})")


def check_answer(response: requests.Response, url: str) -> None:
    """Raise DownloadError or PassingError unless the answer brings the file."""
    status = f"{response.status_code} {response.reason}"
    if response.status_code in _PASSING:
        asked = response.headers.get("Retry-After", "")
        raise PassingError(
            f"the server answered {status}", float(asked) if asked.isdigit() else 0.0
        )
    if response.status_code in (404, 410):
        raise DownloadError(
            f"{url}: the server has no such file ({status}); it has moved, or the mirror lacks it; "
            f"{_OTHER_WAYS}"
        )
    if response.status_code not in (200, 206, 416):
        raise DownloadError(
            f"{url}: the server or a proxy refuses access ({status}); {_OTHER_WAYS}"
        )
    addresses = [step.url for step in response.history] + [response.url]
    if url.startswith("https:") and any(not step.startswith("https:") for step in addresses):
        raise DownloadError(f"{url}: redirected to an unprotected address, {addresses[-1]}")
    if "text/html" in response.headers.get("Content-Type", "").lower():
        raise DownloadError(
            f"{url}: a web page came, not a file; a network that asks to log in does this, open "
            f"a browser to see"
        )
