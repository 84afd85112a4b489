"""`biasmir fetch`."""

from __future__ import annotations

from pathlib import Path

import click

STEP = 2


@click.command(short_help="Download data sets, the paper's files or networks.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to fill.  [default: $BIASMIR_DATA, or data in $BIASMIR_CACHE or the user's cache]",
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Mirror that has every file right under this address.  [default: $BIASMIR_BASE_URL]",
)
@click.option(
    "--from",
    "from_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that has the files already; nothing is downloaded.",
)
@click.option(
    "--registry",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Table of sources (JSON) whose entries replace the project's own.",
)
@click.option("--discard-archives", is_flag=True, help="Delete each archive once it is unpacked.")
@click.option(
    "--attempts",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Connections that may fail one after the other.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Seconds before the second attempt; doubled before each further one.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds without a byte after which a connection has failed.",
)
def fetch(
    sources: tuple[str, ...],
    root: Path | None,
    base_url: str | None,
    from_dir: Path | None,
    registry: Path | None,
    discard_archives: bool,
    attempts: int,
    wait: float,
    timeout: float,
) -> None:
    """Download data sets, the paper's files or networks, checked against their sums.

    SOURCE is openmic, irmas, paper-embeddings, paper-split or models; several may be given.

    A download that breaks off goes on at the next call, and what is there already is left
    alone. Behind a proxy, set HTTPS_PROXY.
    """
    from biasmir_utils.datasets import Patience, Registry
    from biasmir_utils.datasets import fetch as bring

    bring(
        sources,
        root,
        base_url=base_url,
        from_dir=from_dir,
        registry=Registry.load(registry),
        patience=Patience(attempts=attempts, wait=wait, timeout=timeout),
        keep_archives=not discard_archives,
        say=click.echo,
    )
