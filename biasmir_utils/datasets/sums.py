"""Sums of files, and what the record of a file publishes: its sum and its licence."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pooch
import requests

from biasmir_utils.datasets.download import PassingError, Patience, as_failure, persist
from biasmir_utils.errors import DownloadError


class RecordError(DownloadError):
    """A record was reached, and has no sum of the file."""


def pooch_sum(path: Path, algorithm: str = "sha256") -> str:
    """Return the sum of a file in pooch's notation, ``algorithm:sum``."""
    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"


def has_sum(path: Path, known: str) -> bool:
    """Tell whether a file has a sum in that notation."""
    return bool(pooch.hashes.hash_matches(str(path), known))


def published_sum(doi: str, name: str, patience: Patience, folder: Path) -> str:
    """Return the sum of a file, as the interface of its record lists it.

    Parameters
    ----------
    doi : str
        Of the record.
    name : str
        Of the file, in the record.
    patience : Patience
    folder : pathlib.Path
        Where pooch would put files; none is.

    Raises
    ------
    RecordError
        If the record lists no such file with a sum.
    DownloadError
        If the record is not in reach.
    """
    listing = pooch.create(path=folder, base_url=f"doi:{doi}")

    def attempt() -> None:
        try:
            listing.load_registry_from_doi()
        except (requests.exceptions.JSONDecodeError, KeyError, TypeError) as error:
            raise PassingError("no list of files came") from error
        except requests.RequestException as error:
            raise as_failure(error, f"doi:{doi}", patience) from error
        except ValueError as error:
            raise DownloadError(f"doi:{doi}: {error}") from error

    persist(attempt, patience, lambda: 0, f"doi:{doi}")
    value = listing.registry.get(name)
    if value is None or not re.fullmatch(r"(md5|sha256):[0-9a-f]+", value):
        raise RecordError(
            f"doi:{doi}: the record lists no {name} with a sum (it lists "
            f"{', '.join(listing.registry) or 'nothing'})"
        )
    return str(value)


def stated_licence(doi: str, patience: Patience) -> str | None:
    """Return the licence that a record of Zenodo states, such as ``cc-by-4.0``; None if unknown."""
    url = f"https://zenodo.org/api/records/{doi.rpartition('.')[2]}"
    try:
        value = requests.get(url, timeout=patience.timeout).json()["metadata"]["license"]["id"]
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,40}", value) else None


@contextmanager
def quiet_pooch() -> Iterator[None]:
    """Keep pooch's own lines off the screen; ours say the same."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
