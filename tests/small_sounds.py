"""Small corpora and embeddings, and stand-ins for networks, for several test files."""

from __future__ import annotations

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
