"""`biasmir fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 2


def _list_sources(formatter: click.HelpFormatter) -> None:
    from biasmir_utils.datasets import DATASETS

    with formatter.section("Sources"):
        formatter.write_dl([(name, one.title) for name, one in DATASETS.items() if one.files])


@_options.command(
    listing=_list_sources, short_help="Download data sets, the paper's files or networks."
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@_options.root
@_options.base_url
@_options.from_dir
@click.option("--discard-archives", is_flag=True, help="Delete each archive once it is unpacked.")
def fetch(
    sources: tuple[str, ...], root: Path | None, discard_archives: bool, **mirror: Any
) -> None:
    """Download data sets, the paper's files or networks, checked against their sums.

    SOURCE is a name of the list below; several may be given.

    A download that breaks off goes on at the next call, and what is there already is left
    alone. Behind a proxy, set HTTPS_PROXY.
    """
    from biasmir_utils.datasets import fetch as bring

    bring(sources, root, keep_archives=not discard_archives, say=_edge.echo, **mirror)
