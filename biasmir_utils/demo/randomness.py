"""Named random streams.

Every random choice of the demo corpus is drawn from a stream that has a name (dataset, track,
stage, ...), not from one generator that is passed along. A stage can then be drawn anew, left out
or replaced without a change in any other: the same notes can be played by another SoundFont, or
sent through another production chain, and remain the same notes.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Open the random stream of that name.

    Parameters
    ----------
    seed : int
        Seed of the corpus, 0 or more.
    *names : str or int
        Path of names, such as ``"band", 12, "notes"``. Another path is an independent stream.

    Returns
    -------
    numpy.random.Generator
        A generator at the start of that stream.
    """
    path = "/".join(str(name) for name in names)
    digest = hashlib.blake2b(path.encode(), digest_size=16).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])
