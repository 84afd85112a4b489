"""The command line, `biasmir`.

Each module here whose name has no underscore in front is a command, and holds a function of the
module's name. It imports what it works with inside that function, so that `--help` and the light
commands do not wait for the heavy libraries of the others. `STEP` is the command's place among the
others, in the order in which a newcomer would use them.
"""

from __future__ import annotations

import importlib
import pkgutil

import click

from biasmir_utils import __version__
from biasmir_utils.cli._edge import Edge


@click.group(cls=Edge, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="biasmir")
def main() -> None:
    """Measure and correct dataset bias in pre-trained audio embeddings."""


_names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
_modules = [importlib.import_module(f"{__name__}.{name}") for name in _names]
for _module in sorted(_modules, key=lambda module: module.STEP):
    main.add_command(getattr(_module, _module.__name__.rpartition(".")[2]))
