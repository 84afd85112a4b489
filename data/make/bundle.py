"""The small corpus that is passed on: tables, clip-level embeddings and listening examples.

A rendered corpus holds all audio and frame-level embeddings; that is a gigabyte. The bundle keeps
every clip's row and the mean of its embeddings in half precision, and the audio of a few clips as
MP3, which every browser plays.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from biasmir_utils.corpus import Corpus, CorpusWriter, write_embedding_file
from biasmir_utils.errors import ArgumentError
from biasmir_utils.files import atomic_path, versions

EXAMPLES = 3  # of each instrument in each dataset, unless told otherwise
# RMS level of the listening examples, dB relative to full scale: none is louder than another.
EXAMPLE_LEVEL_DB = -20.0
# Largest sample of a listening example; one with higher peaks is turned down instead.
EXAMPLE_PEAK = 0.89
# libsndfile's compression level for variable bit rate: about 90 kbit/s in mono. At 55 kbit/s
# YAMNet's embedding of an example correlates only .94 with that of the clip (.99 here).
MP3_COMPRESSION = 0.3
# The data card, written by hand: the only file that the folder may hold already.
CARD = "README.md"


def choose_examples(corpus: Corpus, per_instrument: int) -> list[int]:
    """Choose the clips to listen to.

    In each dataset and for each instrument those are taken in which it is the lead and labelled as
    heard, with few other instruments, each from another genre as far as there are, and genres that
    have few examples so far first.

    Parameters
    ----------
    corpus : Corpus
        A rendered demonstration corpus.
    per_instrument : int
        Examples wanted of each instrument in each dataset.

    Returns
    -------
    list of int
        Rows of `corpus.clips`, in order.
    """
    players = corpus.clips["instruments"].str.split()
    clips = corpus.clips.assign(lead=players.str[0], players=players.str.len())
    chosen: list[int] = []
    for dataset in corpus.datasets:
        counts = dict.fromkeys(corpus.groups, 0)
        for label in corpus.labels:
            led = (clips["dataset"] == dataset) & (clips["lead"] == label) & (clips[label] >= 0.5)
            candidates = clips[led].drop_duplicates("track")
            used: set[str] = set()
            for _ in range(min(per_instrument, len(candidates))):
                genres, fellows = candidates["group"], candidates["players"]
                # Rows come in the order of the table where nothing else decides.
                best = min(
                    candidates.index,
                    key=lambda i: (genres[i] in used, fellows[i], counts[genres[i]], i),
                )
                used.add(genres[best])
                counts[genres[best]] += 1
                chosen.append(int(best))
                candidates = candidates.drop(index=best)
    return sorted(chosen)


def choose_pieces(corpus: Corpus, pieces: int) -> list[int]:
    """Choose pieces to listen to in every dataset of a counterfactual corpus.

    They are taken from the genres in turn; of a genre's pieces those come first that have another
    lead instrument than the pieces before, and among them those with few players.

    Parameters
    ----------
    corpus : Corpus
        A rendered counterfactual corpus.
    pieces : int
        Pieces wanted.

    Returns
    -------
    list of int
        Rows of `corpus.clips`, in order: as many for each piece as there are datasets.
    """
    clips = corpus.clips
    first = clips[clips["dataset"] == corpus.datasets[0]]
    if any(set(part["clip"]) != set(first["clip"]) for _, part in clips.groupby("dataset")):
        raise ArgumentError(f"{corpus.path}: the datasets do not hold the same pieces")
    players = first["instruments"].str.split()
    left = first.assign(lead=players.str[0], players=players.str.len())
    chosen: list[str] = []
    leads: set[str] = set()
    for turn in range(min(pieces, len(first))):
        genres, lead, fellows = left["group"], left["lead"], left["players"]
        wanted = corpus.groups[turn % len(corpus.groups)]
        # Rows come in the order of the table where nothing else decides.
        best = min(left.index, key=lambda i: (genres[i] != wanted, lead[i] in leads, fellows[i], i))
        chosen.append(left["clip"][best])
        leads.add(lead[best])
        left = left.drop(index=best)
    return clips.index[clips["clip"].isin(chosen)].tolist()


def write_bundle(
    corpus: Corpus,
    out: str | os.PathLike[str],
    *,
    embedding: Sequence[str] = (),
    examples: int = EXAMPLES,
    pieces: int | None = None,
    progress: bool = True,
) -> Corpus:
    """Write the bundle of a rendered corpus.

    Parameters
    ----------
    corpus : Corpus
        A rendered demonstration corpus with embeddings.
    out : path
        Folder to write to: new, or empty but for the data card.
    embedding : sequence of str
        Embeddings to keep; all of them by default.
    examples : int
        Listening examples of each instrument in each dataset, 1 or more.
    pieces : int, optional
        For a counterfactual corpus, instead: pieces to listen to, 1 or more, each in all datasets.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Corpus
        The bundle. The column `audio` is set for the listening examples only, and
        `example_gain_db` says by how much an example was made louder than the clip that was
        embedded.

    Raises
    ------
    ArgumentError
        If `corpus` is no rendered corpus, lacks an embedding, or `out` holds something; with
        `pieces`, if its datasets do not hold the same clips.
    """
    wanted = examples if pieces is None else pieces
    if wanted < 1:
        raise ArgumentError(f"examples or pieces to listen to: expected 1 or more, got {wanted}")
    out = Path(out)
    names = list(embedding) or corpus.embedding_names
    _check(corpus, out, names)

    if pieces is None:
        rows = choose_examples(corpus, examples)
        rule = "" if examples == EXAMPLES else f" --examples {examples}"
        how_many = {"examples_for_each_instrument": examples}
    else:
        rows, rule = choose_pieces(corpus, pieces), f" --pieces {pieces}"
        how_many = {"pieces_to_listen_to": pieces}
    rule += "".join(f" --embedding {name}" for name in embedding)
    kept = ("name", "title", "datasets", "groups", "targets", "licences", "shared_tracks")
    writer = CorpusWriter(
        out,
        **{field: getattr(corpus.description, field) for field in kept},
        provenance={
            **corpus.description.provenance,
            "bundle": {
                "command": f"python data/make/demo.py OUT --bundle RENDERED{rule}",
                "examples": len(rows),
                **how_many,
                "example_level_db": EXAMPLE_LEVEL_DB,
                "example_codec": f"MP3, variable bit rate, compression level {MP3_COMPRESSION}",
                "versions": versions("h5py", "numpy", "pandas", "pyarrow", "soundfile"),
            },
        },
    )
    return write_with_examples(writer, corpus, rows, names, progress)


def write_with_examples(
    writer: CorpusWriter, corpus: Corpus, rows: list[int], names: list[str], progress: bool = False
) -> Corpus:
    """Write a corpus with listening examples of these rows only, and its embeddings as means."""
    out, clips = writer.path, corpus.clips.assign(audio=None, example_gain_db=np.nan)
    for row in tqdm(rows, unit="example", disable=not progress):
        source = corpus.audio_path(row)
        assert source is not None  # whoever chose the rows has seen to it
        content, gain = listening_example(source)
        name = f"audio/{clips['dataset'][row]}/{source.stem}.mp3"
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
        clips.loc[row, ["audio", "example_gain_db"]] = name, round(gain, 2)
    written = writer.write(clips)
    for name in names:
        file = out / "embeddings" / f"{name}.h5"
        write_clip_level(corpus, name, file)
        stored = {"pooling": "mean over frames", "dtype": "float16"}
        record = corpus.model_record(name) | {"stored": stored}
        written = written.add_embedding_file(file, {name: record})
    return written


def _check(corpus: Corpus, out: Path, names: list[str]) -> None:
    if not {"instruments", "soundfont"} <= set(corpus.clips.columns):
        raise ArgumentError(f"{corpus.path}: is no corpus made by data/make/demo.py")
    missing = [name for name in names if name not in corpus.embedding_names]
    if missing or not names:
        there = ", ".join(corpus.embedding_names) or "none"
        raise ArgumentError(
            f"{corpus.path}: has no embedding {', '.join(map(repr, missing))} (there: {there}); "
            "run 'biasmir extract' first"
        )
    if corpus.clips["audio"].isna().any():
        raise ArgumentError(f"{corpus.path}: some clips have no audio; bundle a rendered corpus")
    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - {CARD}):
        raise ArgumentError(f"{out}: holds something already; remove all but {CARD}")


def listening_example(source: Path) -> tuple[bytes, float]:
    """Encode a clip as MP3 at the common level; also give the gain in dB."""
    wave, rate = soundfile.read(source, dtype="float32")
    level = np.sqrt(np.mean(np.square(wave, dtype=np.float64)))
    gain = min(10 ** (EXAMPLE_LEVEL_DB / 20) / level, EXAMPLE_PEAK / np.abs(wave).max())
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        wave * np.float32(gain),
        rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=MP3_COMPRESSION,
    )
    return buffer.getvalue(), float(20 * np.log10(gain))


def write_clip_level(corpus: Corpus, name: str, file: Path) -> None:
    """Write the mean of an embedding's frames for each clip, in half precision."""
    features, present = corpus.embedding(name), corpus.complete([name])
    missing = corpus.missing(name)
    content, skipped = {}, {}
    for dataset in corpus.datasets:
        mine = present & (corpus.clips["dataset"] == dataset).to_numpy()
        content[dataset] = (corpus.clips["clip"][mine].tolist(), features[mine])
        left_out = missing[missing["dataset"] == dataset]
        skipped[dataset] = dict(zip(left_out["clip"], left_out["reason"], strict=True))
    write_embedding_file(file, name, content, skipped=skipped, dtype="float16")
