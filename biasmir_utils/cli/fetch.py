"""`biasmir fetch`."""

from __future__ import annotations

from pathlib import Path

import click

STEP = 2


class _Fetch(click.Command):
    """A command whose help ends with what there is to fetch."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from biasmir_utils.datasets import DATASETS

        with formatter.section("Sources"):
            formatter.write_dl(
                [(name, dataset.title) for name, dataset in DATASETS.items() if dataset.files]
            )


@click.command(cls=_Fetch, short_help="Download data sets, the paper's files or networks.")
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
@click.option("--discard-archives", is_flag=True, help="Delete each archive once it is unpacked.")
def fetch(
    sources: tuple[str, ...],
    root: Path | None,
    base_url: str | None,
    from_dir: Path | None,
    discard_archives: bool,
) -> None:
    """Download data sets, the paper's files or networks, checked against their sums.

    SOURCE is a name of the list below; several may be given.

    A download that breaks off goes on at the next call, and what is there already is left
    alone. Behind a proxy, set HTTPS_PROXY.
    """
    from biasmir_utils.datasets import fetch as bring

    bring(
        sources,
        root,
        base_url=base_url,
        from_dir=from_dir,
        keep_archives=not discard_archives,
        say=click.echo,
    )
