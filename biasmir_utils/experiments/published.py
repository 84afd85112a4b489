"""The published results: mean ROC-AUC over ten instruments, retyped from the paper.

Source: C. Wang, G. Richard and B. McFee, "Transfer Learning and Bias Correction with Pre-trained
Audio Embeddings", ISMIR 2023 (arXiv 2307.10834). Real data: IRMAS and OpenMIC-2018, and the
authors' own extraction of the three embeddings.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
import pandas as pd

EMBEDDINGS = ("vggish", "openl3", "yamnet")
CORRECTIONS = ("none", "lda", "mlda", "k", "klda", "mklda")
MODES = ("global", "classwise")
DATASETS = ("irmas", "openmic")
N_LABELS = 10
# Every test clip of IRMAS is scored for every instrument; of OpenMIC-2018 the observed ones.
IRMAS_TEST_CLIPS = 1666

# What each correction is put beside: the same recogniser without a projection.
BASELINES = {"lda": "none", "mlda": "none", "k": "none", "klda": "k", "mklda": "k"}


@lru_cache(maxsize=1)
def _table() -> pd.DataFrame:
    path = files("biasmir_utils.experiments").joinpath("published_mean_auc.csv")
    with path.open(encoding="utf-8") as file:
        wide = pd.read_csv(file, comment="#", keep_default_na=False)
    keys = ["embedding", "correction", "mode"]
    table = wide.melt(keys, var_name="pair", value_name="roc_auc")
    pairs = table.pop("pair").str.split(">", expand=True)
    table.insert(3, "train_set", pairs[0])
    table.insert(4, "test_set", pairs[1])
    table["roc_auc"] = (table["roc_auc"] / 100).round(4)
    return table


def published_means() -> pd.DataFrame:
    """Return the 144 published means.

    Returns
    -------
    pandas.DataFrame
        Columns `embedding`, `correction`, `mode` (`global`, `classwise`), `train_set`,
        `test_set`, `roc_auc` in [0, 1]. The corrections `none` and `k` have equal rows in both
        modes.
    """
    return _table().copy()


def published_results() -> pd.DataFrame:
    """Return the published means in the form of a results table (`results.RESULT_COLUMNS`).

    The columns are those that tell recognisers apart, and `roc_auc`; there is one label,
    `(mean)`. As in our own results, what has no direction to fit (`none`, `k`) is there once,
    with the mode `none`. What reads a results table reads this.
    """
    table = _table()
    plain = table["correction"].isin(["none", "k"])
    table = table[~plain | (table["mode"] == "global")].reset_index(drop=True)
    plain = table["correction"].isin(["none", "k"])
    other = np.where(table["train_set"] == "irmas", "openmic", "irmas")
    return pd.DataFrame(
        {
            "corpus": "published",
            "embedding": table["embedding"],
            "correction": table["correction"],
            "mode": table["mode"].mask(plain, "none"),
            "alpha": np.where(plain, np.nan, 1.0),
            "label": "(mean)",
            "train_set": table["train_set"],
            "test_set": table["test_set"],
            "partner": other,
            "recogniser": "published",
            "seed": 42,
            "roc_auc": table["roc_auc"],
        }
    )
