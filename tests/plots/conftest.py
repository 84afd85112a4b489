from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawn import EMBEDDINGS

mpl.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture
def results() -> pd.DataFrame:
    """Rows as `biasmir evaluate` writes them; every value is another number."""
    rows = [
        {"label": label, "embedding": embedding, "train_set": train, "test_set": test}
        for embedding in EMBEDDINGS
        for train in ("solo", "band")
        for test in ("solo", "band")
        for label in ("violin", "cello", "flute")
    ]
    table = pd.DataFrame(rows)
    table["roc_auc"] = np.random.default_rng(0).permutation(np.linspace(0.6, 0.97, len(table)))
    return table.assign(low=table["roc_auc"] - 0.02, high=table["roc_auc"] + 0.03)
