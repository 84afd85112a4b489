"""From prepared clips to finished parts: the network, in batches across clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from biasmir_utils.embeddings.base import Embedding, Features
from biasmir_utils.embeddings.parts import Key, Part
from biasmir_utils.embeddings.preparing import Prepared
from biasmir_utils.errors import ArgumentError

CLIPS_IN_A_BATCH = 16
BATCH_BYTES = 32 << 20
CLIPS_IN_A_PART = 100
PART_BYTES = 64 << 20
SILENT = "silence; embedded all the same"


def embed_parts(
    prepared: Iterable[tuple[Key, Prepared]], embedding: Embedding, stored: dict[str, str]
) -> Iterator[tuple[Part, float]]:
    """Embed in batches, and yield finished parts with the seconds of sound in them."""
    part, seconds = Part(), 0.0
    batch: list[tuple[Key, Prepared]] = []
    size = 0
    for key, clip in prepared:
        if clip.features is None:
            part.skipped[key] = clip.reason
        else:
            batch.append((key, clip))
            size += clip.features.nbytes
        enough = len(part) + len(batch) >= CLIPS_IN_A_PART or part.nbytes >= PART_BYTES
        if len(batch) >= CLIPS_IN_A_BATCH or size >= BATCH_BYTES or enough:
            seconds += _embed_batch(batch, embedding, stored, part)
            batch, size = [], 0
        if enough:
            yield part, seconds
            part, seconds = Part(), 0.0
    seconds += _embed_batch(batch, embedding, stored, part)
    if len(part):
        yield part, seconds


def _embed_batch(
    batch: list[tuple[Key, Prepared]], embedding: Embedding, stored: dict[str, str], part: Part
) -> float:
    """Add a batch to a part; return the seconds of sound embedded."""
    if not batch:
        return 0.0
    inputs = [clip.features for _, clip in batch if clip.features is not None]
    seconds = 0.0
    for (key, clip), frames in zip(batch, embedding.run(inputs), strict=True):
        if not len(frames) or not np.isfinite(frames).all():
            part.skipped[key] = (
                "the network gave no frame"
                if not len(frames)
                else ("the network gave NaN or infinite values")
            )
            continue
        part.frames[key] = _as_stored(
            frames, stored, f"{'/'.join(key)}: values of {embedding.name}"
        )
        seconds += clip.seconds
        if clip.silent:
            part.noted[key] = SILENT
    return seconds


def _as_stored(frames: Features, stored: dict[str, str], what: str) -> Features:
    if stored["pooling"] != "none":
        frames = frames.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    if stored["dtype"] == "float16" and np.abs(frames).max() > np.finfo(np.float16).max:
        raise ArgumentError(f"{what} are too large for float16; use float32")
    return frames
