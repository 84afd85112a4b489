"""The command line, `biasmir`.

Each command is a module of this package, loaded only when it is called, so that `--help` and
the light commands do not wait for the heavy libraries of the others.
"""

from __future__ import annotations

import importlib

import click

from biasmir_utils import __version__
from biasmir_utils.errors import BiasMIRError

# In the order in which a newcomer would use them.
COMMANDS = {
    "info": "Summarise a corpus.",
    "fetch": "Download data sets, the paper's files or networks.",
    "prepare": "Write a corpus from the files of the paper.",
    "import": "Write a corpus from a table, audio or embeddings of one's own.",
    "extract": "Embed the clips of a corpus with pre-trained networks.",
    "probe": "Tell how well the dataset can be read from an embedding.",
    "evaluate": "Train and test recognisers inside and across datasets.",
    "correct": "Write a corpus with corrected embeddings.",
    "compare": "Put results beside the published ones.",
    "reproduce": "Do all of the paper: fetch, prepare, evaluate, compare.",
}
# Where the module has another name than the command, because that is a word of Python.
MODULES = {"import": "import_corpus"}


class _LazyGroup(click.Group):
    """A group that lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module_name = MODULES.get(cmd_name, cmd_name.replace("-", "_"))
        module = importlib.import_module(f"{__name__}.{module_name}")
        command: click.Command = getattr(module, module_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BiasMIRError as error:
            # Shown as one line and exit code 1, without a traceback.
            raise click.ClickException(str(error)) from error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="biasmir")
def main() -> None:
    """Measure and correct dataset bias in pre-trained audio embeddings."""
