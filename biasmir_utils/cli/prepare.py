"""`biasmir prepare`: a command for each data set that can be prepared."""

from __future__ import annotations

from pathlib import Path

import click

from biasmir_utils.cli import _edge, _options

STEP = 3


class _Prepare(click.Group):
    """A group of the data sets that are known when it is asked."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from biasmir_utils.datasets import DATASETS

        return sorted(name for name, dataset in DATASETS.items() if dataset.prepare)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from biasmir_utils.datasets import DATASETS, prepare as write

        if cmd_name not in self.list_commands(ctx):
            return None
        dataset = DATASETS[cmd_name]
        out = click.Argument(["out"], type=_options.PATH)
        root = click.Option(
            ["--root"],
            type=_options.PATH,
            help=f"Folder with {dataset.needs}.  [default: where `biasmir fetch` puts files]",
        )
        flags = [
            click.Option([f"--{name.replace('_', '-')}"], is_flag=True, help=text)
            for name, text in dataset.options.items()
        ]

        def run(out: Path, root: Path | None, **options: bool) -> None:
            _edge.echo(write(cmd_name, out, root, **options).summary())

        return click.Command(cmd_name, params=[out, root, *flags], help=dataset.help, callback=run)


@click.group(cls=_Prepare, short_help="Write a corpus from the files of the paper.")
def prepare() -> None:
    """Write a corpus from the files that `biasmir fetch` brings, or others in their layout."""
