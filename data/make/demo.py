"""Make the bundled corpora: render them, then bundle what is passed on.

    python data/make/demo.py OUT                      render the demonstration corpus
    python data/make/demo.py OUT --counterfactual     render the counterfactual corpus
    python data/make/demo.py OUT --bundle RENDERED    bundle a rendered corpus

Rendering needs the two SoundFonts of `synth` and the package tinysoundfont. An interrupted
rendering goes on where it stopped when the command is repeated. The same seed gives the same audio,
whatever the number of jobs. Between rendering and bundling, `biasmir extract` makes the embeddings.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import BiasMIRError
from bundle import EXAMPLES, write_bundle
from render import CLIPS, PIECES, render_corpus, render_counterfactual

RENDERING = ("counterfactual", "clips", "seed", "jobs", "soundfonts")
BUNDLING = ("embedding", "examples", "pieces")
"""Arguments of the two halves of the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line by default.

    Raises
    ------
    SystemExit
        1 after an error in words, 2 where the arguments do not fit, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    out, rendered, progress = given.pop("out"), given.pop("bundle", None), not given.pop("quiet")
    misplaced = sorted(given.keys() & set(BUNDLING if rendered is None else RENDERING))
    if misplaced:
        options = ", ".join(f"--{name}" for name in misplaced)
        parser.error(f"{options}: only {'with' if rendered is None else 'without'} --bundle")
    try:
        if rendered is None:
            _render(out, given, progress)
        else:
            bundle = write_bundle(Corpus.load(rendered), out, progress=progress, **given)
            size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
            print(f"{bundle.summary()}\n\n{size / 1e6:.2f} MB in {out}")
    except BiasMIRError as error:
        sys.exit(f"Error: {error}")


def _parser() -> argparse.ArgumentParser:
    """Options that are not given are left out, so that the functions' defaults hold."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--quiet", action="store_true", default=False, help="no progress bar")
    add = parser.add_argument_group("rendering").add_argument
    add(
        "--counterfactual",
        action="store_true",
        help="four datasets of the same pieces instead: band in all combinations of SoundFont and "
        "production chain",
    )
    how_many = f"default: {CLIPS}; counterfactual: {PIECES}"
    add("--clips", metavar="N", type=int, help=f"clips in each dataset ({how_many})")
    add("--seed", metavar="N", type=int, help="of every random choice (default: 1)")
    add("--jobs", metavar="N", type=int, help="processes; -1, the default: one on each core")
    add(
        "--soundfonts",
        type=Path,
        help="folder with the SoundFonts, if they are not installed; or set BIASMIR_SOUNDFONTS",
    )
    add = parser.add_argument_group("bundling").add_argument
    add(
        "--bundle",
        type=Path,
        metavar="RENDERED",
        help="rendered corpus with embeddings: OUT gets its clip table, the embeddings clip by "
        "clip in half precision, and listening examples as MP3",
    )
    add("--embedding", nargs="+", action="extend", help="embeddings to keep (default: all)")
    add(
        "--examples",
        metavar="N",
        type=int,
        help=f"listening examples of each instrument in each dataset (default: {EXAMPLES})",
    )
    add(
        "--pieces",
        metavar="N",
        type=int,
        help="for a counterfactual corpus, instead: pieces to listen to, each in all datasets",
    )
    return parser


def _render(out: Path, given: dict[str, Any], progress: bool) -> None:
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(128 + number)
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    how = {"seed": 1, "jobs": -1, **given, "progress": progress}
    try:
        if how.pop("counterfactual", False):
            corpus = render_counterfactual(out, pieces=how.pop("clips", PIECES), **how)
        else:
            corpus = render_corpus(out, clips=how.pop("clips", CLIPS), **how)
    except BaseException:
        # A batch system stops the workers too, so that the first thing to be noticed here may be
        # that they have ended.
        if not stopped:
            raise
        goes_on = "and the same command goes on from there."
        print(f"\nStopped; finished clips are kept in {out}, {goes_on}", file=sys.stderr)
        sys.exit(stopped[0])
    print(corpus.summary())


if __name__ == "__main__":
    main()
