"""Make the sounds of the book's pages: python tools/sounds.py RENDERED.

RENDERED is a demonstration corpus with all its audio (`python data/make/demo.py RENDERED`). The
excerpts of the explorer come from it; the clip that is heard step by step is rendered anew. All
are committed, and this is run again only when the corpus changes.
"""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path

import numpy as np
import soundfile

from biasmir_utils.corpus import Corpus
from biasmir_utils.notebook import encode_excerpt
from explorer import EXCERPTS, FOLDER, ROOT, leads

SECONDS = 2.5
PER_CELL = 2
"""Excerpts for each combination of dataset, genre and leading instrument."""

STEPS = Path("book", "extra", "steps")
PLAYERS = Path("book", "players-steps.html")
TRACK, SEED = 14, 1
"""The piece that is heard step by step: a saxophone with drums and bass, in worn pop and rock."""
STEP_SECONDS, STEP_START = 4.0, 1.0
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


def choose_clips(corpus: Corpus) -> list[int]:
    """Choose the clips that the explorer plays, as rows by dataset, instrument and genre.

    In each dataset, for each leading instrument and genre, the first clips of different tracks are
    taken, those with fewer instruments first.
    """
    clips = corpus.clips
    cell = ["dataset_place", "lead", "genre_place"]
    table = clips.assign(
        dataset_place=clips["dataset"].map(corpus.datasets.index),
        lead=leads(corpus),
        genre_place=clips["group"].map(corpus.groups.index),
        players=clips["instruments"].str.split().str.len(),
    ).sort_values([*cell, "players"], kind="stable")
    chosen = table.drop_duplicates([*cell, "track"]).groupby(cell).head(PER_CELL)
    return [int(row) for row in chosen.index]


def render_excerpts(rendered: Corpus, out: Path) -> None:
    """Write excerpts of the chosen clips as MP3, and `excerpts.json` that lists them."""
    excerpts = []
    for row in choose_clips(rendered):
        clip, source = rendered.clips.iloc[row], rendered.audio_path(row)
        if source is None:
            sys.exit(f"{rendered.path} has no audio of {clip['clip']}; render the whole corpus")
        wave, rate = soundfile.read(source, dtype="float32", always_2d=True)
        content, start, gain_db = encode_excerpt(wave.mean(axis=1), rate, SECONDS)
        excerpts.append(
            {
                "dataset": clip["dataset"],
                "clip": clip["clip"],
                "file": f"audio/{clip['clip']}.mp3",
                "start": start,
                "gain_db": gain_db,
            }
        )
        (out / excerpts[-1]["file"]).write_bytes(content)
    kept = {one["file"] for one in excerpts}
    for path in (out / "audio").glob("*.mp3"):
        if f"audio/{path.name}" not in kept:
            path.unlink()
    record = json.dumps({"seconds": SECONDS, "excerpts": excerpts}, indent=2)
    (out / EXCERPTS).write_text(record + "\n", encoding="utf-8")


def render_steps(out: Path, players: Path) -> None:
    """Render the clip, and write what each step makes of it as MP3, and the players of all.

    Steps that leave this clip as it was are left out.
    """
    sys.path.append(str(ROOT / "data" / "make"))
    from design import BAND, draw_tracks
    from production import draw_production
    from render import Task, render_stages
    from synth import SAMPLE_RATE, find_soundfont

    track = draw_tracks(BAND, 3 * (TRACK + 1), SEED)[TRACK]
    task = Task(BAND, track, 0, find_soundfont(BAND.source.soundfont), SEED)
    production = draw_production(BAND.production, track, SEED)
    facts = {
        **vars(production),
        "noise": f"{production.noise_db:.0f}".replace("-", "\N{MINUS SIGN}"),
    }
    figures: list[str] = []
    before = None
    for name, wave in render_stages(task):
        changed = before is None or not np.array_equal(wave, before)
        before = wave
        if name in IN_WORDS and changed:
            file = f"{len(figures)}-{name.replace(' ', '-')}.mp3"
            (out / file).write_bytes(encode_excerpt(wave, SAMPLE_RATE, STEP_SECONDS, STEP_START)[0])
            label = html.escape(f"{len(figures) + 1}. {IN_WORDS[name].format(**facts)}")
            figures.append(
                f'<figure><figcaption>{label}</figcaption><audio controls preload="none" '
                f'aria-label="{label}" src="../{out.name}/{file}"></audio></figure>'
            )
    part = "\n".join(['<div class="players">', *figures, "</div>"])
    players.write_text(part + "\n", encoding="utf-8")


if __name__ == "__main__":
    render_excerpts(Corpus.load(sys.argv[1]), ROOT / FOLDER)
    render_steps(ROOT / STEPS, ROOT / PLAYERS)
