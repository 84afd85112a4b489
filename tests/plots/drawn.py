"""What stands in a figure, read back from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

EMBEDDINGS = ["yamnet", "musicnn"]


def table(columns: str, *rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def texts(ax) -> list[str]:
    """Names of the rows."""
    return [tick.get_text() for tick in ax.get_yticklabels()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(ax) -> dict[str, np.ndarray]:
    """Points of the lines with a name, (n, 2)."""
    return {
        line.get_label(): np.column_stack(line.get_data())
        for line in ax.get_lines()
        if not line.get_label().startswith("_")
    }
