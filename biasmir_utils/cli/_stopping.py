"""Commands that can be stopped: by Ctrl-C, or by SIGTERM as batch systems and `kill` send it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which unwinds the work as Ctrl-C does, so that worker processes end too."""


@contextmanager
def stoppable(explain: Callable[[], str]) -> Iterator[None]:
    """End the command with a message and the usual exit code when it is stopped.

    Parameters
    ----------
    explain : callable
        Returns what to say: what is kept, and how to go on. Called when the work has ended.

    Raises
    ------
    SystemExit
        130 after Ctrl-C, 143 after SIGTERM.
    """
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
        raise _Terminated

    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminate) if here else None
    try:
        yield
    except BaseException as error:
        # A batch system sends the signal to the workers too, so that the first thing to be
        # noticed here may be that they have ended.
        if not terminated and not isinstance(error, KeyboardInterrupt):
            raise
        click.echo(f"\n{explain()}", err=True)
        raise SystemExit(143 if terminated else 130) from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
