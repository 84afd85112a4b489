"""The same music, twice: `band` with another SoundFont, another production chain, or both.

Four datasets of one corpus play the same notes. They differ in the SoundFont (that of `band` or
of `solo`) and in the production chain (likewise), in all combinations, and in nothing else: the
timbre shifts are those of `band`, every random draw belongs to the piece (its equaliser and room
are the same random numbers, read by another chain), and clips, tracks, splits and labels are the
same in all four. A clip has one name in all of them, so that its renderings can be compared.

The pieces are the first clips of the tracks of `band` in the demonstration corpus of the same seed,
so that the first dataset sounds as they do there. (A few clips differ: a timbre shift is cut by the
range of a whole piece, and here a piece ends with its first clip.) Unlike there, all labels are
observed and right.
"""

from __future__ import annotations

import os
from dataclasses import replace

from biasmir_utils.corpus import Corpus
from biasmir_utils.demo.design import BAND, SOLO, DatasetDesign, LabelDesign
from biasmir_utils.demo.render import About, render_corpus

PIECES = 400
"""Pieces, unless told otherwise."""


def _variant(name: str, font: DatasetDesign, chain: DatasetDesign) -> DatasetDesign:
    return replace(
        BAND,
        name=name,
        source=replace(BAND.source, soundfont=font.source.soundfont),
        production=chain.production,
        labels=LabelDesign(),
        clips_per_track=(1.0,),
    )


COUNTERFACTUAL: tuple[DatasetDesign, ...] = (
    _variant("bandfont_bandchain", BAND, BAND),
    _variant("solofont_bandchain", SOLO, BAND),
    _variant("bandfont_solochain", BAND, SOLO),
    _variant("solofont_solochain", SOLO, SOLO),
)
"""The four datasets: as `band`, with the other SoundFont, with the other chain, with both."""

ABOUT = About(
    "counterfactual",
    "BiasMIR counterfactual corpus: the same music with two SoundFonts and two productions",
    "biasmir demo-corpus --counterfactual OUT",
)


def render_counterfactual(
    out: str | os.PathLike[str],
    *,
    pieces: int = PIECES,
    seed: int = 1,
    jobs: int = 1,
    soundfonts: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Corpus:
    """Render pieces of `band` in all combinations of SoundFont and production chain.

    Parameters
    ----------
    out : path
        Folder to write to, as in :func:`biasmir_utils.demo.render.render_corpus`.
    pieces : int
        Number of pieces, each a track of one clip; four times as many clips are rendered.
    seed, jobs, soundfonts, progress
        As in :func:`biasmir_utils.demo.render.render_corpus`.

    Returns
    -------
    Corpus
        With the datasets of :data:`COUNTERFACTUAL`.
    """
    return render_corpus(
        out,
        clips=pieces,
        seed=seed,
        jobs=jobs,
        soundfonts=soundfonts,
        designs=COUNTERFACTUAL,
        about=ABOUT,
        progress=progress,
    )
