"""Make the bundled corpora: render them, then bundle what is passed on.

    python data/make/demo.py OUT                      render the demonstration corpus
    python data/make/demo.py OUT --counterfactual     render the counterfactual corpus
    python data/make/demo.py OUT --bundle RENDERED    bundle a rendered corpus

Rendering needs two SoundFonts and the package tinysoundfont; what is missing is named. An
interrupted rendering goes on where it stopped when the command is repeated. The same seed gives the
same audio, whatever the number of jobs. Between rendering and bundling, `biasmir extract` makes the
embeddings.

Where to look: design.py (what makes the datasets different), compose.py (notes), synth.py
(SoundFonts), production.py (rooms, filters, noise, codecs), render.py (table and folder), bundle.py
(what is passed on).
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
from design import COUNTERFACTUAL, DEMO
from render import render_corpus


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line by default.

    Raises
    ------
    SystemExit
        1 after an error in words, 2 where the options do not fit, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    bundling = {"bundle", "embedding", "examples", "pieces"} & given.keys()
    rendering = {"design", "clips", "seed", "jobs", "soundfonts"} & given.keys()
    if bundling and (rendering or "bundle" not in given):
        parser.error("options of bundling need --bundle, with which those of rendering do not go")
    try:
        if not bundling:
            print(_render(**given).summary())
            return
        bundle = write_bundle(Corpus.load(given.pop("bundle")), **given)
    except BiasMIRError as error:
        sys.exit(f"Error: {error}")
    size = sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file())
    print(f"{bundle.summary()}\n\n{size / 1e6:.2f} MB in {bundle.path}")


def _parser() -> argparse.ArgumentParser:
    """Read options; those not given are left out, so that the functions' own defaults hold."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    parser.add_argument("--quiet", dest="progress", action="store_false", help="no progress bar")
    number: dict[str, Any] = {"type": int, "metavar": "N"}

    add = parser.add_argument_group("rendering").add_argument
    same_pieces = "the same pieces with two SoundFonts and two production chains instead"
    clips = f"clips in each dataset (default: {DEMO.clips}; counterfactual: {COUNTERFACTUAL.clips})"
    fonts = "where the SoundFonts are, if not installed; BIASMIR_SOUNDFONTS says it too"
    as_design: dict[str, Any] = {"dest": "design", "action": "store_const", "const": COUNTERFACTUAL}
    add("--counterfactual", **as_design, help=same_pieces)
    add("--clips", **number, help=clips)
    add("--seed", **number, help="of every random choice (default: 1)")
    add("--jobs", **number, help="processes; -1, the default: one on each core")
    add("--soundfonts", type=Path, metavar="FOLDER", help=fonts)

    add = parser.add_argument_group("bundling").add_argument
    kept = "keep of this rendered corpus: table, mean embeddings in half precision, MP3 examples"
    each = f"examples of each instrument in each dataset (default: {EXAMPLES})"
    pieces = "of a counterfactual corpus, instead: pieces to listen to, each in all datasets"
    add("--bundle", type=Path, metavar="RENDERED", help=kept)
    add("--embedding", nargs="+", action="extend", metavar="NAME", help="default: all")
    add("--examples", **number, help=each)
    add("--pieces", **number, help=pieces)
    return parser


def _render(out: Path, **how: Any) -> Corpus:
    """Render, and end with words and the usual exit code when stopped."""
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(128 + number)
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        return render_corpus(out, **how)
    except BaseException:
        # A batch system stops the workers too, so that the first thing to be noticed here may be
        # that they have ended.
        if not stopped:
            raise
        kept = f"finished clips are kept in {out}, and the same command goes on from there."
        print(f"\nStopped; {kept}", file=sys.stderr)
        sys.exit(stopped[0])


if __name__ == "__main__":
    main()
