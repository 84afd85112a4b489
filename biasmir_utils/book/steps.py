"""One clip of the demonstration corpus after each step of its production, to be heard."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from biasmir_utils.book.explorer import EXCERPTS, clip_in_words, encode_excerpt
from biasmir_utils.corpus import Corpus
from biasmir_utils.files import atomic_path, write_json
from biasmir_utils.notebook import number

FOLDER = Path("book", "extra", "steps")
LIST = "steps.json"

TRACK, SEED = 14, 1
"""The piece: a saxophone with drums and bass, in the worn manner of pop and rock."""
SECONDS, START = 4.0, 1.0

IN_WORDS = {
    "dry": "As it is played",
    "equaliser": "Equaliser: the spectrum tilted and bent",
    "reverberation": "Reverberation: {reverb_seconds:.1f} s",
    "band limits": "Band limits: {highpass_hz:,.0f} to {lowpass_hz:,.0f} Hz",
    "saturation": "Saturation: driven into a soft clipper",
    "noise": "Noise: {noise} dB against the music",
    "codec": "Codec: Ogg Vorbis at low quality",
}
"""The steps that are heard; `level` and `peak limit` only change how loud it is."""


def render_steps(out: Path) -> list[str]:
    """Render the clip and write what each step makes of it as MP3, with a list in words.

    Steps that leave this clip as it was are left out.

    Parameters
    ----------
    out : pathlib.Path
        Folder to write to.

    Returns
    -------
    list of str
        The files, in the order of the steps.

    Raises
    ------
    SoundFontError
        The SoundFont of `band` is not installed.
    """
    sys.path.append(str(Path(__file__).resolve().parents[2] / "data" / "make"))
    from design import BAND, draw_tracks
    from production import draw_production
    from render import Task, render_stages
    from synth import SAMPLE_RATE, find_soundfont

    track = draw_tracks(BAND, 3 * (TRACK + 1), SEED)[TRACK]
    task = Task(BAND, track, 0, find_soundfont(BAND.source.soundfont), SEED)
    production = draw_production(BAND.production, track, SEED)
    facts: dict[str, Any] = {**vars(production), "noise": number(production.noise_db, 0)}
    listed: list[dict[str, str]] = []
    before: np.ndarray | None = None
    for name, wave in render_stages(task):
        changed = before is None or not np.array_equal(wave, before)
        before = wave
        if name in IN_WORDS and changed:
            content, _, _ = encode_excerpt(wave, SAMPLE_RATE, SECONDS, START)
            file = f"{len(listed)}-{name.replace(' ', '-')}.mp3"
            with atomic_path(out / file) as temporary:
                temporary.write_bytes(content)
            listed.append({"file": file, "label": IN_WORDS[name].format(**facts)})
    write_json(out / LIST, listed)
    return [one["file"] for one in listed]


def steps_part(folder: Path) -> str:
    """Return a part of a page with a player for each step, from the list in `folder`."""
    listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    return players_part(
        (f"{place}. {one['label']}", f"../{folder.name}/{one['file']}")
        for place, one in enumerate(listed, start=1)
    )


def two_sounds_part(corpus: Corpus, folder: Path, instrument: str = "cello") -> str:
    """Return a part of a page with one instrument from each dataset, of the explorer's excerpts.

    Parameters
    ----------
    corpus : Corpus
        The demonstration corpus.
    folder : pathlib.Path
        The explorer's.
    instrument : str
        The one that leads.
    """
    record = json.loads((folder / EXCERPTS).read_text(encoding="utf-8"))
    files = {(one["dataset"], one["clip"]): one["file"] for one in record["excerpts"]}
    found: dict[str, tuple[str, str]] = {}
    for row in range(len(corpus.clips)):
        clip = corpus.clips.iloc[row]
        file = files.get((clip["dataset"], clip["clip"]))
        if file is not None and clip["instruments"] == instrument:
            label = clip_in_words(corpus, row).capitalize()
            found.setdefault(clip["dataset"], (label, f"../{folder.name}/{file}"))
    return players_part(found[dataset] for dataset in corpus.datasets)


def players_part(sounds: Iterable[tuple[str, str]]) -> str:
    """Return players beside one another, given the label and the address of each."""
    figures = []
    for text, address in sounds:
        label = html.escape(text)
        figures.append(
            f"<figure><figcaption>{label}</figcaption>"
            f'<audio controls preload="none" aria-label="{label}" src="{address}"></audio></figure>'
        )
    body = "\n".join(figures)
    return f'```{{raw}} html\n<div class="players">\n{body}\n</div>\n```\n'
