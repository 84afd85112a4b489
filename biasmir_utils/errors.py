"""Errors that a user can act on: each names the file, row or argument, and what to do."""

import difflib
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


class ClusterError(BiasMIRError):
    """A Dask scheduler does not answer, or its workers cannot do the work."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" if one of the known words is close, or else nothing."""
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""
