"""Errors that a user can act on: each names the file, row or argument, and what to do."""

import difflib
import re
from collections.abc import Iterable


class BiasMIRError(Exception):
    """Base of all errors that BiasMIR raises on purpose."""


class ArgumentError(BiasMIRError, ValueError):
    """An argument has a value that cannot be used."""


class CorpusError(BiasMIRError):
    """A corpus on disk breaks the format that `biasmir_utils.corpus` describes."""


class AudioError(BiasMIRError):
    """A sound file cannot be decoded, or holds no usable samples."""


class ModelError(BiasMIRError):
    """A pre-trained network is missing, or is not the one that was asked for."""


class DownloadError(BiasMIRError):
    """A download failed, or brought something else than was expected."""


class LockedError(BiasMIRError, BlockingIOError):
    """Another process is at work on the same files, and still was after the wait."""


class ClusterError(BiasMIRError):
    """A Dask scheduler does not answer, or its workers cannot do the work."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" if one of the known words is close, or else nothing."""
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""


_NUMBER = re.compile(r"(?<![\w./+-])\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?![\w/]|\.\w)")


def by_kind(messages: Iterable[str]) -> dict[str, list[int]]:
    """Return messages that differ in their numbers only as one, which tells the range of each.

    Parameters
    ----------
    messages : iterable of str
        Such as "too short: 0.5 s" and "too short: 0.75 s".

    Returns
    -------
    dict of str to list of int
        For each kind, "too short: 0.5 to 0.75 s", the positions of its messages.
    """
    kinds: dict[str, list[tuple[int, list[str]]]] = {}
    for position, message in enumerate(messages):
        numbers = _NUMBER.findall(message)
        kinds.setdefault(_NUMBER.sub("\0", message), []).append((position, numbers))
    found = {}
    for kind, members in kinds.items():
        text, *others = kind.split("\0")
        columns = zip(*(numbers for _, numbers in members), strict=True)
        for after, column in zip(others, columns, strict=True):
            ends = sorted(set(column), key=lambda number: float(number.replace(",", "")))
            text += " to ".join(dict.fromkeys((ends[0], ends[-1]))) + after
        found[text] = [position for position, _ in members]
    return found
