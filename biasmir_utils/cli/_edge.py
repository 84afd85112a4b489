"""The edge of the command line: how a command ends that is stopped or fails, and how it prints."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from biasmir_utils.errors import BiasMIRError

_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What makes a terminal do something, and what turns the direction of its text."""


class Edge(click.Group):
    """A group in its own order, which shows what a user can act on as one line, exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, args: Any = None, *others: Any, **settings: Any) -> Any:
        """Run, also where the terminal, a log or the names of files have another encoding."""
        known = sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1"
        if args is None and not known:
            os.environ["PYTHONUTF8"] = "1"
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(args, *others, **settings)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; errors of ours and of the system become one line."""
        try:
            with _stoppable(ctx), warnings.catch_warnings():
                warnings.showwarning = _echo_warning  # type: ignore[assignment]
                return super().invoke(ctx)
        except BrokenPipeError:  # `biasmir info C | head`; click ends it quietly
            raise
        except BiasMIRError as error:
            message = str(error)
        except OSError as error:
            named = dict.fromkeys(map(str, filter(None, (error.filename, error.filename2))))
            what = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
            if isinstance(error, FileExistsError | NotADirectoryError):
                what = "a file is where a folder is expected; choose another place, or remove it"
            message = ": ".join(filter(None, [" -> ".join(named), what]))
        except UnicodeEncodeError as error:
            around = error.object[max(0, error.start - 20) : error.end]
            message = (
                f"{around!r}: bytes that are no text in {error.encoding}; rename what has them"
            )
        except MemoryError as error:
            message = f"not enough memory: {error}".removesuffix(": ")
        raise click.ClickException(printable(message))


def printable(text: str) -> str:
    """Return a text, with escapes in the place of characters that control a terminal."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def echo(text: str, err: bool = False) -> None:
    """Print a text in which names and titles of somebody's data may stand."""
    try:
        click.echo(printable(text), file=sys.stderr if err else sys.stdout)
    except OSError as error:
        error.filename = error.filename or ("standard error" if err else "standard output")
        raise


def write_figure(path: Path, draw: Callable[..., Any], *given: Any, **options: Any) -> None:
    """Write the figure that a function draws, whole or not at all."""
    import matplotlib as mpl

    from biasmir_utils.files import atomic_path

    with mpl.rc_context({"backend": "agg"}), atomic_path(path) as temporary:
        drawn = draw(*given, **options)
        getattr(drawn, "figure", drawn).savefig(temporary, dpi=150)


def _echo_warning(message: Warning | str, *others: Any) -> None:
    """Print a warning that nobody has caught as a line of its own."""
    echo(f"Warning: {message}", err=True)


def when_stopped(explain: Callable[[], str]) -> None:
    """Set what the command that runs says when it is stopped: what is kept, and how to go on."""
    click.get_current_context().meta[__name__] = explain


@contextmanager
def _stoppable(ctx: click.Context) -> Iterator[None]:
    """End with one line when stopped: 130 after Ctrl-C, 143 after SIGTERM (batch systems, kill)."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # A second one ends it at once.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield
    except BaseException as error:
        # A batch system sends the signal to the workers too, so that the first thing to be noticed
        # here may be that they have ended; and an import that is broken off raises what it likes.
        if not received and not isinstance(error, KeyboardInterrupt):
            raise
        echo("\n" + ctx.meta.get(__name__, lambda: "Stopped.")(), err=True)
        raise SystemExit(128 + (received or [signal.SIGINT])[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
