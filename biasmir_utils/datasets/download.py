"""Downloads over HTTP that go on where they broke off.

Pooch keeps the registry and compares the sums, but its own downloader starts anew each time.
`ResumingDownloader` is a downloader for it, built on requests, which honours the usual
variables of the environment (``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``).
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests import exceptions as failures
from tqdm import tqdm

from biasmir_utils import __version__
from biasmir_utils.datasets.disk import full_disk_as_error, human_size, require_space
from biasmir_utils.errors import DownloadError
from biasmir_utils.files import write_json

# Small enough that a dropped connection loses little of what had come.
_CHUNK = 1 << 16
# A connection that brought this much was no failure, so that a large file over a bad line
# gets as many connections as it needs.
_PROGRESS = 1 << 20
# A name that does not resolve seldom does a second later: without a network, say so soon.
_ATTEMPTS_AT_A_NAME = 2
_UNKNOWN_NAME = re.compile(
    r"failed to resolve|name resolution|getaddrinfo failed|name or service not known|nodename nor",
    re.IGNORECASE,
)
WITHOUT_A_WAY = (
    "behind a proxy, set HTTPS_PROXY; a mirror (--base-url URL) or files "
    "fetched by other means (--from DIR) will do, too"
)
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to try.

    Attributes
    ----------
    attempts : int
        Connections that may fail one after the other.
    wait : float
        Seconds before the second connection; doubled before each further one.
    longest_wait : float
        Seconds at most, also where the server asks for more (``Retry-After``).
    timeout : float
        Seconds without a byte after which a connection has failed.
    """

    attempts: int = 5
    wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 60.0

    def before(self, attempt: int, asked: float = 0.0) -> float:
        """Return the seconds to wait before connection number `attempt` (2, 3, ...)."""
        return min(max(self.wait * 2 ** (attempt - 2), asked), self.longest_wait)


class PassingError(Exception):
    """A failure that may be gone at the next try.

    Parameters
    ----------
    reason : str
    asked : float
        Seconds that the server asked to wait.
    attempts : int, optional
        Connections after which to give up on this failure, if fewer than is usual.
    hint : str
        What else can be done.
    """

    def __init__(
        self, reason: str, asked: float = 0.0, *, attempts: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(reason)
        self.asked, self.attempts, self.hint = asked, attempts, hint


def persist(
    attempt: Callable[[], object], patience: Patience, progress: Callable[[], int], what: str
) -> None:
    """Call `attempt` until it raises no `PassingError`, waiting longer each time.

    Parameters
    ----------
    attempt : callable
        The work.
    patience : Patience
        How often, and with what waits.
    progress : callable
        What has been reached so far, in bytes; a failure after 1 MB more starts the count anew.
    what : str
        For the message.

    Raises
    ------
    DownloadError
        After the last attempt.
    """
    failed, reached = 0, progress()
    while True:
        try:
            attempt()
            return
        except PassingError as failure:
            now = progress()
            failed = 1 if now - reached >= _PROGRESS else failed + 1
            reached = max(reached, now)
            if failed >= min(patience.attempts, failure.attempts or patience.attempts):
                raise DownloadError(
                    f"{what}: {failure} ({failed} attempt(s)); try again later"
                    + (f", it goes on from {human_size(now)}" if now else "")
                    + (f"; {failure.hint}" if failure.hint else "")
                ) from failure
            time.sleep(patience.before(failed + 1, failure.asked))


class ResumingDownloader:
    """A downloader for Pooch that keeps what has come in a ``.partial`` file.

    Beside that file stands what the server said of the whole (address, ETag, date, length), and
    a download goes on only where the server still says the same; otherwise it starts anew.
    Whether the result is right is for the sum to say, which Pooch compares.

    Parameters
    ----------
    partial : pathlib.Path
        The file beside the final one; its folder exists.
    patience : Patience
        How often to try, and how long to wait.
    largest : int, optional
        Bytes above which the file cannot be what it should.
    """

    def __init__(self, partial: Path, patience: Patience, largest: int | None = None) -> None:
        self.partial = partial
        self.notes = partial.with_name(partial.name + ".json")
        self.patience, self.largest = patience, largest
        self.resumed = False

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Download `url` to `output_file`, which Pooch then checks and renames.

        Raises
        ------
        DownloadError
            Naming the address, and what to do.
        """
        self.resumed = self._reached() > 0
        with requests.Session() as session:
            persist(lambda: self._connect(session, url), self.patience, self._reached, url)
        os.replace(self.partial, output_file)
        self.notes.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget what has come so far."""
        self.partial.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _reached(self) -> int:
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def _resumable(self, url: str) -> dict[str, Any]:
        """Return the notes on a partial file that may go on, or an empty dict."""
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
            same = notes["url"] == url and self._reached() > 0
            known = bool(notes["etag"] or notes["modified"] or notes["length"])
            fits = notes["length"] is None or self._reached() <= notes["length"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return notes if same and known and fits else {}

    def _connect(self, session: requests.Session, url: str) -> None:
        """Bring the rest of the file over one connection."""
        notes = self._resumable(url)
        if not notes:
            self.discard()
        elif notes["length"] == self._reached():
            return
        headers = {"User-Agent": f"biasmir/{__version__}", "Accept-Encoding": "identity"}
        if notes:
            headers["Range"] = f"bytes={self._reached()}-"
            strong = notes["etag"] and not notes["etag"].startswith("W/")
            if validator := notes["etag"] if strong else notes["modified"]:
                headers["If-Range"] = validator
        try:
            with session.get(
                url, headers=headers, stream=True, timeout=self.patience.timeout
            ) as response:
                self._receive(response, url, notes)
        except failures.RequestException as error:
            raise as_failure(error, url, self.patience) from error

    def _receive(self, response: requests.Response, url: str, notes: dict[str, Any]) -> None:
        _check_answer(response, url)
        have = self._reached()
        if response.status_code == 416 or (
            response.status_code == 206 and not _continues(response, notes, have)
        ):
            self.discard()
            raise PassingError("the file at this address changed in between")
        if response.status_code == 206:
            total = notes["length"] or _total_of_range(response)
        else:
            have, total = 0, _length(response)
        if self.largest is not None and (total or 0) > self.largest:
            self.discard()
            raise DownloadError(f"{url}: {self._too_large()}")
        if not have:
            self.partial.unlink(missing_ok=True)
            self._write_notes(response, url, total)
        if total:
            require_space(self.partial.parent, total - have, f"the rest of {url}")
        self._write(response, url, have, total)

    def _write_notes(self, response: requests.Response, url: str, total: int | None) -> None:
        write_json(
            self.notes,
            {
                "url": url,
                "etag": response.headers.get("ETag"),
                "modified": response.headers.get("Last-Modified"),
                "length": total,
            },
        )

    def _write(self, response: requests.Response, url: str, have: int, total: int | None) -> None:
        name = self.partial.name.removesuffix(".partial")
        largest = float("inf") if self.largest is None else self.largest
        with (
            full_disk_as_error(self.partial, "what had come is kept"),
            open(self.partial, "ab") as out,
            tqdm(
                desc=name, initial=have, total=total, unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            for chunk in response.iter_content(_CHUNK):
                have += len(chunk)
                if have > largest:
                    break
                out.write(chunk)
                bar.update(len(chunk))
        if have > largest:
            self.discard()
            raise DownloadError(f"{url}: {self._too_large()}")
        if total is not None and have < total:  # urllib3 before 2.0 does not say so itself
            raise PassingError(f"broke off after {have} of {total} bytes")

    def _too_large(self) -> str:
        return (
            f"larger than {human_size(self.largest or 0)}, which this file cannot be; something "
            f"else is at this address now"
        )


def as_failure(
    error: failures.RequestException, url: str, patience: Patience
) -> DownloadError | PassingError:
    """Say what went wrong with a connection, and whether to try again."""
    reason = _reason(error)
    status = getattr(error.response, "status_code", None)
    if isinstance(error, failures.HTTPError) and status in _PASSING:
        return PassingError(f"the server answered {status}")
    if isinstance(error, failures.SSLError):
        return DownloadError(
            f"{url}: no safe connection ({reason}); check the clock, and behind a proxy that "
            f"opens connections name its certificate in REQUESTS_CA_BUNDLE"
        )
    unknown_name = _UNKNOWN_NAME.search(f"{reason} {error}") is not None
    attempts = _ATTEMPTS_AT_A_NAME if unknown_name else None
    if isinstance(error, failures.ProxyError):
        return PassingError(
            f"the proxy did not connect ({reason}); HTTP_PROXY, HTTPS_PROXY and NO_PROXY say "
            f"which is used",
            attempts=attempts,
        )
    if unknown_name:
        return PassingError(
            f"the name of the host is not known here, is there a network? ({reason})",
            attempts=attempts,
            hint=WITHOUT_A_WAY,
        )
    if isinstance(error, failures.Timeout) or "timed out" in reason.lower():
        return PassingError(f"no answer for {patience.timeout:g} s", hint=WITHOUT_A_WAY)
    if isinstance(
        error,
        failures.ConnectionError | failures.ChunkedEncodingError | failures.ContentDecodingError,
    ):
        return PassingError(f"no connection, or it broke off ({reason})", hint=WITHOUT_A_WAY)
    return DownloadError(f"{url}: cannot be fetched ({reason})")


def _reason(error: BaseException) -> str:
    """Return what the innermost library said, without the addresses of its objects."""
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)
    return re.sub(r"<[^<>]* object at 0x[0-9a-f]+>:? ?", "", str(inner)) or type(error).__name__


def _check_answer(response: requests.Response, url: str) -> None:
    """Raise DownloadError or PassingError unless the answer brings the file."""
    status = response.status_code
    if status in _PASSING:
        raise PassingError(f"the server answered {status} {response.reason}", _asked(response))
    if status in (401, 403, 407):
        raise DownloadError(
            f"{url}: the server or a proxy refuses access ({status} {response.reason}); a mirror "
            f"(--base-url URL) or files fetched by other means (--from DIR) will do"
        )
    if status in (404, 410):
        raise DownloadError(
            f"{url}: the server has no such file ({status} {response.reason}); it has moved, or "
            f"the mirror lacks it; give a mirror that has it (--base-url URL), or the file "
            f"(--from DIR)"
        )
    if status not in (200, 206, 416):
        raise DownloadError(f"{url}: the server answered {status} {response.reason}")
    addresses = [step.url for step in response.history] + [response.url]
    if url.startswith("https:") and any(not step.startswith("https:") for step in addresses):
        raise DownloadError(f"{url}: redirected to an unprotected address, {addresses[-1]}")
    if status == 200 and "text/html" in response.headers.get("Content-Type", "").lower():
        raise DownloadError(
            f"{url}: a web page came, not a file; a network that asks to log in does this, open "
            f"a browser to see"
        )


def _asked(response: requests.Response) -> float:
    """Return the seconds of ``Retry-After``; a date there counts as none."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0


def _length(response: requests.Response) -> int | None:
    """Return the length of the file, where the server says it."""
    text = response.headers.get("Content-Length", "")
    # Of a body that is encoded on the way, that would be another length.
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    return int(text) if text.isdigit() and not encoded else None


def _range(response: requests.Response) -> tuple[int, int | None]:
    """Return the first byte and the total length of ``Content-Range``; -1 if there is none."""
    text = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text.strip())
    if match is None:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _total_of_range(response: requests.Response) -> int | None:
    return _range(response)[1]


def _continues(response: requests.Response, notes: dict[str, Any], have: int) -> bool:
    """Tell whether a partial answer is the rest of what is there."""
    start, total = _range(response)
    etag = response.headers.get("ETag")
    return (
        bool(notes)
        and start == have
        and (total is None or notes["length"] is None or total == notes["length"])
        and (etag is None or notes["etag"] is None or etag == notes["etag"])
    )
