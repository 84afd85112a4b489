"""Small corpora and embeddings, and stand-ins for networks, for several test files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus, CorpusWriter, Target, write_embedding_file
from biasmir_utils.embeddings import Embedding


def add_embedding(corpus: Corpus, name: str, X: np.ndarray) -> Corpus:
    """Store a row of features for each clip of a corpus as an embedding of it."""
    parts = corpus.clips.groupby("dataset")
    file = corpus.path / "embeddings" / f"{name}.h5"
    write_embedding_file(file, name, {d: (own["clip"].tolist(), X[own.index]) for d, own in parts})
    return corpus.add_embedding_file(file, made_here=True)


def level(index):
    """The constant value of a clip's samples, which tells the clip to the network below."""
    return (index + 1) / 512


def flat(index, seconds=0.1):
    return np.full(int(seconds * 16_000), level(index)), 16_000, {"subtype": "FLOAT"}


class Levels(Embedding):
    """Two frames for each clip from its level; keeps what it was given."""

    name, summary, licence, weights = "levels", "the level, twice", "none", "tests"
    dimension, sample_rate, hop, window = 3, 16_000, 0.05, 0.05

    def __init__(self, scale=1.0, log=None):
        super().__init__(parameters={"scale": scale})
        self.scale = scale
        self.seen = []
        self.log = log

    def run(self, inputs):
        levels = [float(clip.mean()) for clip in inputs]
        self.seen += [round(level * 512) - 1 for level in levels]
        if self.log:
            with open(self.log, "a") as file:
                file.write("".join(f"{index}\n" for index in self.seen[-len(inputs) :]))
        return [self.scale * np.array([[x, 1, 0], [x, 0, 1]], dtype=np.float32) for x in levels]


def make_sound_corpus(folder, sounds):
    """Write a corpus of two datasets from names and waveforms, bytes, or None (no file)."""
    import soundfile

    (folder / "audio").mkdir(parents=True)
    rows = []
    for index, (name, content) in enumerate(sounds.items()):
        path = folder / "audio" / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            waveform, sample_rate, options = content
            with open(path, "wb") as file:
                soundfile.write(file, waveform, sample_rate, **{"format": "WAV", **options})
        rows.append(
            {
                "dataset": "odd" if index % 2 else "even",
                "clip": path.stem,
                "track": path.stem,
                "split": "train",
                "group": "any",
                "audio": f"audio/{name}",
                "piano": 1.0,
            }
        )
    writer = CorpusWriter(
        folder,
        name="sounds",
        title="Sounds for tests",
        datasets=["even", "odd"],
        groups=["any"],
        targets=[Target("piano", "label")],
    )
    return writer.write(pd.DataFrame(rows))


def save_vggish_like(folder, looks_around=False):
    """Save a network with VGGish's signature and framing, and random weights.

    Log power spectra of 25 ms every 10 ms, 96 of them without overlap to 128 numbers.
    """
    import tensorflow as tf

    class VggishLike(tf.Module):
        def __init__(self):
            super().__init__()
            weights = np.random.default_rng(0).normal(scale=0.01, size=(96 * 32, 128))
            self.weights = tf.Variable(weights.astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, waveform):
            if looks_around:
                waveform = waveform / tf.reduce_max(tf.abs(waveform))
            spectra = tf.abs(tf.signal.stft(waveform, 400, 160, 512))[:, :256]
            bands = tf.math.log(tf.reduce_mean(tf.reshape(spectra, [-1, 32, 8]), axis=2) + 0.01)
            windows = tf.signal.frame(bands, 96, 96, axis=0)
            return tf.reshape(windows, [-1, 96 * 32]) @ self.weights

    tf.saved_model.save(VggishLike(), str(folder))
    return folder


def make_tiny_corpus(
    folder: Path, *, clips_per_dataset: int = 120, frames: int = 2, seed: int = 0
) -> Corpus:
    """Write a small corpus whose two datasets are told apart by an offset.

    Two labels (`piano` is observed everywhere, `voice` in part of `beta`), a category, a
    number, three groups with different frequencies, tracks of two clips; embeddings `toy`
    (8-d, in frames) and `toy2` (12-d, one row a clip, two clips of `beta` missing).
    """
    rng = np.random.default_rng(seed)
    rows, features = [], {}
    for d, dataset in enumerate(("alpha", "beta")):
        n = clips_per_dataset
        group = rng.choice(["rock", "jazz", "folk"], n, p=[0.5, 0.3, 0.2] if d else [0.2, 0.3, 0.5])
        piano = rng.random(n) < np.where(group == "jazz", 0.6, 0.35)
        voice = rng.random(n) < np.where(group == "rock", 0.6, 0.35)
        tempo = rng.uniform(60, 180, n)
        for i in range(n):
            rows.append(
                {
                    "dataset": dataset,
                    "clip": f"{dataset[0]}{i:04d}",
                    "track": f"t{i // 2:04d}",
                    "split": "test" if (i // 2) % 4 == 3 else "train",
                    "group": group[i] if i % 40 else None,
                    "audio": None,
                    "piano": float(piano[i]),
                    "voice": float(voice[i]) if not d or i % 3 else np.nan,
                    "era": "old" if i % 2 else "new",
                    "tempo": tempo[i],
                }
            )
        base = rng.normal(0, 1, (n, 8))
        base[:, 0] += 1.6 * piano
        base[:, 1] += 1.6 * voice
        base[:, 2] += 3.0 * d
        base[:, 3] += np.where(group == "rock", 1.0, 0.0)
        features[dataset] = base
    writer = CorpusWriter(
        folder,
        name="tiny",
        title="A tiny corpus for tests",
        datasets=["alpha", "beta"],
        groups=["rock", "jazz", "folk"],
        targets=[
            Target("piano", "label"),
            Target("voice", "label"),
            Target("era", "category"),
            Target("tempo", "number", unit="bpm"),
        ],
        provenance={"made_by": "tests", "seed": seed},
        licences=[{"what": "everything", "licence": "CC0"}],
    )
    table = pd.DataFrame(rows)
    corpus = writer.write(table)
    names = {d: table.loc[table["dataset"] == d, "clip"].tolist() for d in corpus.datasets}
    noise = rng.normal(0, 0.1, (frames, clips_per_dataset, 8))
    noise -= noise.mean(axis=0)
    toy = {
        d: (
            np.repeat(names[d], frames).tolist(),
            (base[None] + noise).transpose(1, 0, 2).reshape(-1, 8),
        )
        for d, base in features.items()
    }
    mixing = rng.normal(0, 1, (8, 12)) / np.sqrt(8)
    toy2 = {d: (names[d], base @ mixing) for d, base in features.items()}
    toy2["beta"] = (names["beta"][:-2], toy2["beta"][1][:-2])
    left_out = {"beta": {names["beta"][-1]: "too short"}}
    write_embedding_file(folder / "embeddings" / "toy.h5", "toy", toy)
    write_embedding_file(folder / "embeddings" / "toy2.h5", "toy2", toy2, skipped=left_out)
    corpus.add_embedding_file(folder / "embeddings" / "toy.h5", made_here=True)
    return corpus.add_embedding_file(
        folder / "embeddings" / "toy2.h5", {"toy2": {"source": "tests"}}, made_here=True
    )
