"""The repository's address: set in _config.yml, copied to the files that need it in full."""

from __future__ import annotations

import re
from pathlib import Path

from biasmir_utils.errors import BookError
from biasmir_utils.files import atomic_path

# Files that work without the book's build, and so carry a copy of the address.
COPIES = ("README.md", "CITATION.cff", "CONTRIBUTING.md", "notebooks/*.ipynb", "book/*.md")

_ADDRESS = re.compile(r"^https://github\.com/([\w.-]+)/([\w.-]+)$")


def read_address(source: Path) -> str:
    """Return the repository's address that `source`/_config.yml sets."""
    import yaml

    config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    return str(config["repository"]["url"])


def slug(address: str) -> str:
    """Return `owner/name` of a GitHub address.

    Raises
    ------
    BookError
        The address is not of that form.
    """
    match = _ADDRESS.match(address)
    if not match:
        raise BookError(f"{address!r} is not of the form https://github.com/<owner>/<name>")
    return "/".join(match.groups())


def set_address(source: Path, address: str) -> list[str]:
    """Set the repository's address in _config.yml and in every file with a copy of it.

    Returns
    -------
    list of str
        The files that were changed, relative to `source`.
    """
    old, new = slug(read_address(source)), slug(address)
    changed = []
    for pattern in ("_config.yml", *COPIES):
        for path in sorted(source.glob(pattern)):
            text = path.read_text(encoding="utf-8")
            if old in text and old != new:
                with atomic_path(path) as temporary:
                    temporary.write_text(text.replace(old, new), encoding="utf-8")
                changed.append(path.relative_to(source).as_posix())
    return changed
