"""Rendering: from a seed to a clip table and a folder of audio.

The table (names, splits, labels, targets, ground truth) follows from the seed alone; nothing is
rendered to fill it in.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from biasmir_utils.corpus import Corpus, CorpusWriter, Target
from biasmir_utils.errors import ArgumentError
from biasmir_utils.files import atomic_path, sha256, versions, write_json
from compose import compose
from design import (
    DEMO,
    GENRES,
    INSTRUMENTS,
    CorpusDesign,
    DatasetDesign,
    Track,
    draw_tracks,
    stream,
)
from production import STEPS, draw_production, encode, stages
from synth import SOUNDFONTS, find_soundfont, require_synthesiser, synthesise, timbre_shifts

EVERY = 4  # one track of so many is in the test set
# Number of the recipe, to be raised whenever the same seed gives other audio or labels.
RECIPE = 1
# What a folder is being rendered from; a rendering is resumed only if it is the same.
PLAN_FILE = "render.json"

TARGETS = (
    *(Target(name, "label", description=f"{name} is heard") for name in INSTRUMENTS),
    Target("tempo", "number", unit="bpm", description="tempo of the piece"),
    Target(
        "lead_pitch",
        "number",
        unit="MIDI note number",
        description="mean pitch of the lead within the clip, weighted by the notes' lengths",
    ),
)


def audio_name(design: DatasetDesign, track: Track, clip: int) -> str:
    """Path of a clip's audio, relative to the corpus."""
    suffix = {"none": "flac", "vorbis": "ogg"}[design.production.codec]
    return f"audio/{design.name}/{track.clip_name(clip)}.{suffix}"


def draw_split(design: DatasetDesign, tracks: Sequence[Track], seed: int) -> list[str]:
    """Deal tracks to training and test set.

    Every fourth track goes to the test set, in an order that goes through lead instruments and,
    within each, through genres. An instrument that leads two tracks or more leads in both sets.

    Returns
    -------
    list of str
        ``"train"`` or ``"test"`` for each track.
    """
    order = stream(seed, design.music, "split").permutation(len(tracks)).tolist()
    order.sort(key=lambda i: (tracks[i].instruments[0], tracks[i].genre))  # stable
    splits = ["train"] * len(tracks)
    for i in order[EVERY // 2 :: EVERY]:
        splits[i] = "test"
    for instrument in INSTRUMENTS:
        led = [i for i in order if tracks[i].instruments[0] == instrument]
        if len(led) > 1 and len({splits[i] for i in led}) == 1:
            splits[led[-1]] = "train" if splits[led[-1]] == "test" else "test"
    return splits


def draw_labels(design: DatasetDesign, track: Track, clip: int, seed: int) -> dict[str, float]:
    """Draw what the annotators wrote about a clip.

    Returns
    -------
    dict of str to float
        For each instrument a likelihood in [0, 1], positive from 0.5; NaN where not observed.
    """
    labels = design.labels
    rng = track.stream(seed, "labels", clip)
    truth = np.isin(list(INSTRUMENTS), track.instruments)
    chance = np.where(truth, labels.observed_positives, labels.observed_negatives)
    observed = rng.random(len(INSTRUMENTS)) < chance
    written = truth ^ (rng.random(len(INSTRUMENTS)) < labels.flipped)
    # How far the annotators disagreed, short of a tie: mostly little.
    doubt = np.round(0.45 * rng.beta(1.0, 4.0, len(INSTRUMENTS)), 3)
    if not labels.graded:
        doubt[:] = 0.0
    likelihood = np.where(written, 1.0 - doubt, doubt)
    return dict(zip(INSTRUMENTS, np.where(observed, likelihood, np.nan).tolist(), strict=True))


def clip_table(design: DatasetDesign, n_clips: int, seed: int) -> pd.DataFrame:
    """Make the rows of a dataset.

    Parameters
    ----------
    design : DatasetDesign
        The dataset.
    n_clips : int
        Number of clips.
    seed : int
        Seed of the corpus.

    Returns
    -------
    pandas.DataFrame
        A row for each clip: the columns of a clip table, the :data:`TARGETS`, and the ground truth
        of music and production as metadata.
    """
    tracks = draw_tracks(design, n_clips, seed)
    rows: list[dict[str, Any]] = []
    for track, split in zip(tracks, draw_split(design, tracks, seed), strict=True):
        piece = compose(design, track, seed)
        others = {part.name: part for part in piece.parts if not part.labelled}
        production = draw_production(design.production, track, seed)
        rows += [
            {
                "dataset": design.name,
                "clip": track.clip_name(clip),
                "track": track.name,
                "split": split,
                "group": track.genre,
                "audio": audio_name(design, track, clip),
                **draw_labels(design, track, clip, seed),
                "tempo": round(piece.tempo, 3),
                "lead_pitch": round(piece.mean_pitch(clip), 3),
                "instruments": " ".join(track.instruments),
                "programs": _listed(part.program for part in piece.parts if part.labelled),
                "accompaniment": " ".join(others),
                "accompaniment_db": round(piece.accompaniment_db, 3) if others else np.nan,
                "chords_program": float(others["chords"].program) if "chords" in others else np.nan,
                "key": float(piece.key),
                "minor": piece.minor,
                "start": round(piece.starts[clip], 3),
                "soundfont": design.source.soundfont,
                "timbre_shifts": _listed(timbre_shifts(piece, design.source, seed)),
                "equaliser_db": _listed(f"{gain:.2f}" for gain in production.equaliser_db),
                "reverb_seconds": round(production.reverb_seconds, 3),
                "reverb_wet": round(production.reverb_wet, 3),
                "highpass_hz": round(production.highpass_hz, 1),
                "lowpass_hz": round(production.lowpass_hz, 1),
                "level_db": round(production.level_db, 2),
                "saturated": production.saturated,
                "noise_db": round(production.noise_db, 2),
                "codec": production.codec,
                "codec_compression": round(production.codec_compression, 3),
            }
            for clip in range(track.clips)
        ]
    return pd.DataFrame(rows)


def _listed(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


class Task(NamedTuple):
    """A clip to be rendered."""

    design: DatasetDesign
    track: Track
    clip: int
    soundfont: Path
    seed: int


def render_clip(task: Task) -> bytes:
    """Render a clip.

    Returns
    -------
    bytes
        The encoded sound file. The samples in it are the same for the same task on one machine;
        the bytes of an Ogg file also hold a serial number that the encoder draws.
    """
    *_, (_, wave) = islice(render_stages(task), 1 + len(STEPS))  # all but the codec
    return encode(wave, draw_production(task.design.production, task.track, task.seed))


def render_stages(task: Task) -> Iterator[tuple[str, np.ndarray]]:
    """Render a clip and give what each step of its production makes of it.

    Yields
    ------
    name : str
        ``"dry"``, then the names of `production.STEPS`, then ``"codec"``.
    wave : ndarray of shape (n,)
        Mono float32, 44.1 kHz. The dry mix has no meaningful level.
    """
    design, track, clip, soundfont, seed = task
    dry = synthesise(compose(design, track, seed), clip, design.source, soundfont, seed)
    yield "dry", dry
    production = draw_production(design.production, track, seed)
    yield from stages(dry, production, track.stream(seed, "noise", clip))


def render_corpus(
    out: str | os.PathLike[str],
    design: CorpusDesign = DEMO,
    *,
    clips: int | None = None,
    seed: int = 1,
    jobs: int = -1,
    soundfonts: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Corpus:
    """Render a corpus.

    Clips that are there already are not rendered again, so that an interrupted call can be
    repeated.

    Parameters
    ----------
    out : path
        Folder to write to: new, empty, or left by an interrupted call with the same arguments.
    design : CorpusDesign
        The datasets.
    clips : int, optional
        Number of clips in each dataset, 1 or more; by default what the design says.
    seed : int
        Seed of every random choice, 0 or more.
    jobs : int
        Number of processes; -1 for one on each core. The audio does not depend on it.
    soundfonts : path, optional
        Folder with the SoundFonts, see `synth.find_soundfont`.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Corpus
        The finished corpus.

    Raises
    ------
    ArgumentError
        If a number is out of range, or the folder holds something else.
    SoundFontError
        If a SoundFont or the synthesiser is missing; nothing is written then.
    """
    clips = design.clips if clips is None else clips
    if clips < 1:
        raise ArgumentError(f"clips: expected 1 or more in each dataset, got {clips}")
    if seed < 0:
        raise ArgumentError(f"seed: expected 0 or more, got {seed}")
    if jobs == 0 or jobs < -1:
        raise ArgumentError(f"jobs: expected 1 or more, or -1 for all cores, got {jobs}")
    require_synthesiser()
    out = Path(out)
    names = [dataset.source.soundfont for dataset in design.datasets]
    fonts = {name: find_soundfont(name, soundfonts) for name in names}
    plan = {
        "recipe": RECIPE,
        "seed": seed,
        "clips": clips,
        "designs": {dataset.name: asdict(dataset) for dataset in design.datasets},
        "soundfonts": {name: {"file": p.name, "sha256": sha256(p)} for name, p in fonts.items()},
    }
    _start(out, plan)
    tasks = [
        Task(dataset, track, clip, fonts[dataset.source.soundfont], seed)
        for dataset in design.datasets
        for track in draw_tracks(dataset, clips, seed)
        for clip in range(track.clips)
    ]
    _render_missing(out, tasks, jobs, progress)
    if (out / "corpus.json").exists():
        return Corpus.load(out)
    # A table without corpus.json is what an interrupted call left: its end was not reached.
    (out / "clips.parquet").unlink(missing_ok=True)
    tables = [clip_table(dataset, clips, seed) for dataset in design.datasets]
    return _writer(out, design, plan).write(pd.concat(tables, ignore_index=True))


def _start(out: Path, plan: dict[str, Any]) -> None:
    """Make the folder and note the plan, or check that it is the one to go on with."""
    file = out / PLAN_FILE
    if not file.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ArgumentError(f"{out}: is there already and is no folder left by this command")
        write_json(file, plan)
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    if found != json.loads(json.dumps(plan)):  # in JSON, tuples are lists
        numbers = ("recipe", "seed", "clips")
        told = [f"{key} {found.get(key)}" for key in numbers if found.get(key) != plan[key]]
        raise ArgumentError(
            f"{out}: holds a corpus that was rendered from other parameters "
            f"({', '.join(told) or 'designs or SoundFonts'}); choose another folder, or remove it"
        )


def _render_missing(out: Path, tasks: list[Task], jobs: int, progress: bool) -> None:
    """Render the clips that are not there, here or in several processes."""
    missing = [task for task in tasks if not (out / audio_name(*task[:3])).exists()]
    done = len(tasks) - len(missing)
    jobs = min(len(missing), (os.cpu_count() or 1) if jobs == -1 else jobs)
    with tqdm(total=len(tasks), initial=done, unit="clip", disable=not progress) as bar:
        if jobs <= 1:
            for task in missing:
                _render_file(out, task)
                bar.update()
            return
        # Not joblib: it takes a worker that has loaded a SoundFont for a leaking one and restarts
        # it. Ctrl-C reaches every process of a terminal: workers finish their clip without a word.
        pool = ProcessPoolExecutor(
            jobs,
            multiprocessing.get_context("spawn"),
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )
        try:
            for future in as_completed([pool.submit(_render_file, out, task) for task in missing]):
                future.result()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)


def _render_file(out: Path, task: Task) -> None:
    content = render_clip(task)
    with atomic_path(out / audio_name(*task[:3])) as temporary:
        temporary.write_bytes(content)


def _writer(out: Path, design: CorpusDesign, plan: dict[str, Any]) -> CorpusWriter:
    """Describe the corpus: everything but its table."""
    numbers = f"--clips {plan['clips']} --seed {plan['seed']}"
    made_with = versions("numpy", "scipy", "soundfile", "tinysoundfont")
    return CorpusWriter(
        out,
        name=design.name,
        title=design.title,
        datasets=[dataset.name for dataset in design.datasets],
        groups=list(GENRES),
        targets=TARGETS,
        provenance={
            "command": f"python data/make/demo.py OUT{design.option} {numbers}",
            **plan,
            "versions": made_with | {"libsndfile": soundfile.__libsndfile_version__},
        },
        shared_tracks=len({dataset.music for dataset in design.datasets}) < len(design.datasets),
        licences=[{"what": "clips, labels and embeddings", "licence": "CC BY 4.0"}]
        + [
            {
                "what": f"SoundFont {font.file}, not included",
                "licence": "MIT",
                "attribution": font.attribution,
                "url": f"https://packages.debian.org/{font.package}",
            }
            for font in (SOUNDFONTS[name] for name in plan["soundfonts"])
        ],
    )
