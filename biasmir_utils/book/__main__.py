"""The commands that make the book: ``python -m biasmir_utils.book COMMAND``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from biasmir_utils.book import address as address_module
from biasmir_utils.book.build import build
from biasmir_utils.book.checks import check, links_out, pages
from biasmir_utils.book.compare import differences
from biasmir_utils.book.picture import PICTURE, draw_picture
from biasmir_utils.book.stage import stage
from biasmir_utils.errors import BiasMIRError, BookError


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BiasMIRError as error:
            raise click.ClickException(str(error)) from error


_source = click.option(
    "--source",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=".",
    show_default=True,
    help="The repository.",
)
_build = click.option(
    "--build",
    "build_folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="_build",
    show_default=True,
    help="The folder to build in; its name has to be _build.",
)
_only = click.option("--only", multiple=True, metavar="PART", help="Part of a name; repeatable.")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run the notebooks, build the book, check and photograph its pages."""


@main.command("make")
@_source
@_build
def make_command(source: Path, build_folder: Path) -> None:
    """Run all notebooks, build the book, check it: what `make book` does."""
    click.echo("Running the notebooks.")
    stage(source.resolve(), build_folder.resolve(), report=lambda line: click.echo(f"  {line}"))
    _build_and_check(source, build_folder)


@main.command("stage")
@_source
@_build
@_only
def stage_command(source: Path, build_folder: Path, only: tuple[str, ...]) -> None:
    """Run the notebooks, without building the book."""
    stage(source.resolve(), build_folder.resolve(), only, click.echo)


@main.command("build")
@_source
@_build
def build_command(source: Path, build_folder: Path) -> None:
    """Build the book from notebooks that were run before, and check it."""
    _build_and_check(source, build_folder)


@main.command("check")
@_build
def check_command(build_folder: Path) -> None:
    """Check the pages that were built."""
    _check(build_folder.resolve() / "html")


@main.command("links")
@_build
def links_command(build_folder: Path) -> None:
    """List the addresses outside the book that it links to."""
    for link in links_out(build_folder.resolve() / "html"):
        click.echo(link)


@main.command("compare")
@_build
@click.argument("other", type=click.Path(file_okay=False, exists=True, path_type=Path))
def compare_command(build_folder: Path, other: Path) -> None:
    """Say whether another build, in the folder OTHER, gave the same pages."""
    html = build_folder.resolve() / "html"
    found = differences(html, other.resolve() / "html")
    if found:
        raise BookError("the builds differ:\n" + "\n".join(found))
    click.echo(f"{len(pages(html))} pages, and all their files, are the same but for the timings.")


@main.command("screenshots")
@_build
@_only
@click.option("--dark", is_flag=True, help="In the dark mode.")
@click.option("--axe", is_flag=True, help="Also name what axe-core finds (serious or critical).")
def screenshots_command(build_folder: Path, only: tuple[str, ...], dark: bool, axe: bool) -> None:
    """Photograph every page at 1,280 and 390 px, into _build/screenshots."""
    from biasmir_utils.book.accessibility import violations
    from biasmir_utils.book.screenshots import WIDTHS, photograph

    html, target = build_folder.resolve() / "html", build_folder.resolve() / "screenshots"
    if not pages(html):
        raise BookError(f"{html} holds no page; build the book first: make book")
    wrong = 0
    for name, width, pictures, problems in photograph(
        html, target, only=only, dark=WIDTHS if dark else (), inspect=violations if axe else None
    ):
        click.echo(f"{name} at {width} px: {len(pictures)} picture(s)")
        wrong += len(problems)
        for problem in problems:
            click.echo(f"  {problem}", err=True)
    click.echo(f"The pictures are in {_shown(target)}")
    if wrong:
        raise BookError(f"{wrong} problem(s) on the pages, named above")


@main.command("picture")
@_source
@click.argument("results", type=click.Path(dir_okay=False, exists=True, path_type=Path))
def picture_command(source: Path, results: Path) -> None:
    """Draw the picture of the main result from a table of `biasmir evaluate`."""
    draw_picture(results, source / PICTURE)
    click.echo(f"wrote {_shown(source / PICTURE)}")


@main.command("sounds")
@_source
@click.argument("rendered", type=click.Path(file_okay=False, exists=True, path_type=Path))
def sounds_command(source: Path, rendered: Path) -> None:
    """Make the sounds of the pages from a corpus of `data/make/demo.py`.

    They are the excerpts of the explorer, and the clip that is heard step by step.
    """
    from biasmir_utils.book import explorer, steps
    from biasmir_utils.corpus import Corpus

    files = explorer.render_excerpts(Corpus.load(rendered), source / explorer.FOLDER)
    click.echo(f"wrote {len(files)} excerpts to {_shown(source / explorer.FOLDER)}")
    files = steps.render_steps(source / steps.FOLDER)
    click.echo(f"wrote {len(files)} steps to {_shown(source / steps.FOLDER)}")


@main.command("address")
@_source
@click.argument("address", required=False)
def address_command(source: Path, address: str | None) -> None:
    """Show the repository's address; or set it, here and in all its copies."""
    if address is None:
        click.echo(address_module.read_address(source))
        return
    for name in address_module.set_address(source, address):
        click.echo(f"changed {name}")


def _build_and_check(source: Path, build_folder: Path) -> None:
    click.echo("Building the pages.")
    html = build(source.resolve(), build_folder.resolve())
    _check(html)
    click.echo(f"The book is ready: open {_shown(html / 'index.html')} in a browser.")


def _check(html: Path) -> None:
    found = pages(html)
    if not found:
        raise BookError(f"{html} holds no page; build the book first: make book")
    problems = check(html)
    if problems:
        raise BookError("the built pages break rules of the book:\n" + "\n".join(problems))
    click.echo(f"{len(found)} pages checked: images, links, nothing loaded from elsewhere.")


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    main(prog_name="python -m biasmir_utils.book")
