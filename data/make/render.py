"""Rendering: from a seed to a folder of audio and a clip table.

The table follows from the seed alone; nothing is rendered to fill it in.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from biasmir_utils.corpus import Corpus, CorpusWriter, Target
from biasmir_utils.errors import ArgumentError
from biasmir_utils.files import atomic_path, sha256, versions, write_json
from compose import Piece, compose
from design import (
    BAND,
    DATASETS,
    GENRES,
    INSTRUMENTS,
    SOLO,
    DatasetDesign,
    LabelDesign,
    Track,
    draw_tracks,
    stream,
)
from production import Production, draw_production, encode, master, stages
from synth import SOUNDFONTS, find_soundfonts, require_synthesiser, synthesise, timbre_shifts

EVERY = 4
"""One track of so many is in the test set."""

SUFFIXES = {"none": ".flac", "vorbis": ".ogg"}
"""File name suffix for each codec."""

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
"""Targets of the corpus."""


def clip_name(design: DatasetDesign, track: Track, clip: int) -> str:
    """Name of a clip, such as ``solo_0012_1``: music, track, clip."""
    return f"{track_name(design, track)}_{clip}"


def track_name(design: DatasetDesign, track: Track) -> str:
    """Name of a track, such as ``solo_0012``: the same in all datasets that share the music."""
    return f"{design.music}_{track.number:04d}"


def audio_name(design: DatasetDesign, track: Track, clip: int) -> str:
    """Path of a clip's audio, relative to the corpus."""
    suffix = SUFFIXES[design.production.codec]
    return f"audio/{design.name}/{clip_name(design, track, clip)}{suffix}"


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
    truth = np.isin(INSTRUMENTS, track.instruments)
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
        production = draw_production(design.production, track, seed)
        for clip in range(track.clips):
            rows.append(
                {
                    "dataset": design.name,
                    "clip": clip_name(design, track, clip),
                    "track": track_name(design, track),
                    "split": split,
                    "group": track.genre,
                    "audio": audio_name(design, track, clip),
                    **draw_labels(design, track, clip, seed),
                    "tempo": round(piece.tempo, 3),
                    "lead_pitch": round(piece.mean_pitch(clip), 3),
                    **_music_facts(design, piece, clip, seed),
                    **_production_facts(production),
                }
            )
    return pd.DataFrame(rows)


def _music_facts(design: DatasetDesign, piece: Piece, clip: int, seed: int) -> dict[str, Any]:
    labelled = [part for part in piece.parts if part.labelled]
    others = {part.name: part for part in piece.parts if not part.labelled}
    chords = others.get("chords")
    shifts = timbre_shifts(piece, design.source, seed)
    return {
        "instruments": " ".join(part.name for part in labelled),
        "programs": " ".join(str(part.program) for part in labelled),
        "accompaniment": " ".join(others),
        "accompaniment_db": round(piece.accompaniment_db, 3) if others else np.nan,
        "chords_program": float(chords.program) if chords else np.nan,
        "key": float(piece.key),
        "minor": piece.minor,
        "start": round(piece.starts[clip], 3),
        "soundfont": design.source.soundfont,
        "timbre_shifts": " ".join(str(shift) for shift in shifts),
    }


def _production_facts(production: Production) -> dict[str, Any]:
    return {
        "equaliser_db": " ".join(f"{gain:.2f}" for gain in production.equaliser_db),
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


RECIPE = 1
"""Number of the recipe, to be raised whenever the same seed gives other audio or labels."""

PLAN_FILE = "render.json"
"""What a folder is being rendered from; a rendering is resumed only if it is the same."""


_stop: Event | None = None
"""In a worker: set when the rendering is being given up."""


class About(NamedTuple):
    """What a rendered corpus is called, and the command (without its numbers) that makes it."""

    name: str
    title: str
    command: str


DEMO = About(
    "demo", "BiasMIR demonstration corpus: two rendered datasets", "python data/make/demo.py OUT"
)


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
    design, track, clip, soundfont, seed = task
    piece = compose(design, track, seed)
    dry = synthesise(piece, clip, design.source, soundfont, seed)
    production = draw_production(design.production, track, seed)
    return encode(master(dry, production, track.stream(seed, "noise", clip)), production)


def render_stages(task: Task) -> Iterator[tuple[str, np.ndarray]]:
    """Render a clip and give what each step of its production makes of it.

    Yields
    ------
    name : str
        ``"dry"``, then the names of :data:`production.STEPS`.
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
    *,
    clips: int,
    seed: int,
    jobs: int = 1,
    soundfonts: str | os.PathLike[str] | None = None,
    designs: Sequence[DatasetDesign] = tuple(DATASETS.values()),
    about: About = DEMO,
    progress: bool = True,
) -> Corpus:
    """Render the demonstration corpus.

    Clips that are there already are not rendered again, so that an interrupted call can be
    repeated.

    Parameters
    ----------
    out : path
        Folder to write to: new, empty, or left by an interrupted call with the same arguments.
    clips : int
        Number of clips in each dataset, 1 or more.
    seed : int
        Seed of every random choice, 0 or more.
    jobs : int
        Number of processes; -1 for one on each core. The audio does not depend on it.
    soundfonts : path, optional
        Folder with the SoundFonts, see :func:`find_soundfont`.
    designs : sequence of DatasetDesign
        The datasets.
    about : About
        Name and title to write into the corpus.
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
    _check_arguments(clips, seed, jobs)
    require_synthesiser()
    out = Path(out)
    paths = find_soundfonts((design.source.soundfont for design in designs), soundfonts)
    plan = {
        "recipe": RECIPE,
        "seed": seed,
        "clips": clips,
        "datasets": [design.name for design in designs],
        "designs": {design.name: asdict(design) for design in designs},
        "soundfonts": {name: {"file": p.name, "sha256": sha256(p)} for name, p in paths.items()},
    }
    _start(out, plan)
    _render_missing(out, _tasks(designs, clips, seed, paths), jobs, progress)
    if (out / "corpus.json").exists():
        return Corpus.load(out)
    # A table without corpus.json is what an interrupted call left: its end was not reached.
    (out / "clips.parquet").unlink(missing_ok=True)
    table = pd.concat([clip_table(design, clips, seed) for design in designs], ignore_index=True)
    return _writer(out, designs, about, plan).write(table)


def _check_arguments(clips: int, seed: int, jobs: int) -> None:
    if clips < 1:
        raise ArgumentError(f"clips: expected 1 or more in each dataset, got {clips}")
    if seed < 0:
        raise ArgumentError(f"seed: expected 0 or more, got {seed}")
    if jobs == 0 or jobs < -1:
        raise ArgumentError(f"jobs: expected 1 or more, or -1 for all cores, got {jobs}")


def _start(out: Path, plan: dict[str, Any]) -> None:
    """Make the folder and note the plan, or check that it is the one to go on with."""
    file = out / PLAN_FILE
    if file.exists():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ArgumentError(
                f"{file}: not readable as JSON ({error}); choose another folder"
            ) from error
        # Compared as JSON, in which tuples are lists.
        if found != json.loads(json.dumps(plan)):
            differs = [key for key in plan if found.get(key) != json.loads(json.dumps(plan[key]))]
            told = ", ".join(
                f"{key} {found.get(key)}" for key in differs if key in ("recipe", "seed", "clips")
            )
            raise ArgumentError(
                f"{out}: holds a corpus that was rendered from other parameters "
                f"({told or ', '.join(differs) or 'unknown'}); choose another folder, or remove it"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArgumentError(f"{out}: is there already and is no folder left by this command")
    write_json(file, plan)


def _tasks(
    designs: Sequence[DatasetDesign], clips: int, seed: int, paths: dict[str, Path]
) -> list[Task]:
    return [
        Task(design, track, clip, paths[design.source.soundfont], seed)
        for design in designs
        for track in draw_tracks(design, clips, seed)
        for clip in range(track.clips)
    ]


def _render_missing(out: Path, tasks: list[Task], jobs: int, progress: bool) -> None:
    missing = [task for task in tasks if not (out / _audio(task)).exists()]
    with tqdm(total=len(tasks), unit="clip", disable=not progress, desc="rendering") as bar:
        bar.update(len(tasks) - len(missing))
        with closing(_run(out, missing, jobs)) as finished:
            for _ in finished:
                bar.update()


def _run(out: Path, tasks: list[Task], jobs: int) -> Generator[None, None, None]:
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            _render_file(out, task)
            yield
        return
    # Not joblib: it takes a worker that has loaded a SoundFont for a leaking one and restarts it.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        max_workers=min(len(tasks), (os.cpu_count() or 1) if jobs == -1 else jobs),
        mp_context=context,
        initializer=_start_worker,
        initargs=(stop,),
    )
    try:
        for done in as_completed([pool.submit(_render_in_worker, out, task) for task in tasks]):
            done.result()
            yield
    finally:
        # On an error or an interruption the clips not yet begun are given up, also those that
        # wait in the queue of the workers, which can no longer be cancelled.
        stop.set()
        pool.shutdown(cancel_futures=True)


def _start_worker(stop: Event) -> None:
    global _stop
    _stop = stop
    # Ctrl-C reaches every process of a terminal: workers finish their clip, and end without a word.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _render_in_worker(out: Path, task: Task) -> None:
    if _stop is None or not _stop.is_set():
        _render_file(out, task)


def _render_file(out: Path, task: Task) -> None:
    content = render_clip(task)
    with atomic_path(out / _audio(task)) as temporary:
        temporary.write_bytes(content)


def _audio(task: Task) -> str:
    return audio_name(task.design, task.track, task.clip)


def _writer(
    out: Path, designs: Sequence[DatasetDesign], about: About, plan: dict[str, Any]
) -> CorpusWriter:
    clips, seed = plan["clips"], plan["seed"]
    return CorpusWriter(
        out,
        name=about.name,
        title=about.title,
        datasets=[design.name for design in designs],
        groups=list(GENRES),
        targets=list(TARGETS),
        provenance={
            "command": f"{about.command} --clips {clips} --seed {seed}",
            "recipe": RECIPE,
            "seed": seed,
            "clips": clips,
            "designs": plan["designs"],
            "soundfonts": plan["soundfonts"],
            "versions": versions("numpy", "scipy", "soundfile", "tinysoundfont")
            | {"libsndfile": _libsndfile_version()},
        },
        shared_tracks=len(designs) > 1 and len({design.music for design in designs}) == 1,
        licences=[
            {"what": "clips, labels and embeddings", "licence": "CC BY 4.0"},
            *(
                {
                    "what": f"SoundFont {SOUNDFONTS[name].file}, not included",
                    "licence": SOUNDFONTS[name].licence,
                    "attribution": SOUNDFONTS[name].attribution,
                    "url": SOUNDFONTS[name].url,
                }
                for name in plan["soundfonts"]
            ),
        ],
    )


def _libsndfile_version() -> str:
    import soundfile

    return str(soundfile.__libsndfile_version__)


CLIPS = 1800
"""Clips in each of the two datasets, unless told otherwise."""
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
    "python data/make/demo.py OUT --counterfactual",
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
        Folder to write to, as in :func:`render_corpus`.
    pieces : int
        Number of pieces, each a track of one clip; four times as many clips are rendered.
    seed, jobs, soundfonts, progress
        As in :func:`render_corpus`.

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
