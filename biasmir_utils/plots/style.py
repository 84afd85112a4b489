"""One style for all figures: white ground, large type, told apart without colour.

Every category has a colour, a marker, a hatch and a line style. The colours are those of
Petroff (2021), chosen for readers with any kind of colour vision, in an order in which
neighbours also differ in lightness.

References
----------
M. A. Petroff, "Accessible color sequences for data visualization", arXiv 2107.02270, 2021.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#222222"
"""Text, axes, edges of markers."""
MUTED = "#6b6b6b"
"""Reference lines and what is drawn behind."""
WIDTH = 6.0
"""Width of a figure in inches. At a phone's 350 px the smallest type is still 10 px high."""

COLOURS = (
    "#3f90da",
    "#bd1f01",
    "#ffa90e",
    "#832db6",
    "#94a4a2",
    "#a96b59",
    "#e76300",
    "#717581",
    "#b9ac70",
    "#92dadd",
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", "*", ">")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---", "+++", "ooo", "||", "**")
LINES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (6, 1, 1, 1, 1, 1)),
    (0, (3, 1)),
    (0, (8, 2)),
    (0, (1, 3)),
    (0, (5, 3, 1, 3)),
    (0, (2, 1, 2, 3)),
)

_RC = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "white",
    "axes.labelcolor": INK,
    "axes.labelsize": 14,
    "axes.linewidth": 1.0,
    "axes.titlesize": 15,
    "figure.constrained_layout.use": True,
    "figure.dpi": 200,
    "figure.facecolor": "white",
    "figure.figsize": (WIDTH, 4.0),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 14,
    "grid.color": "#d9d9d9",
    "hatch.linewidth": 1.2,
    "legend.fontsize": 13,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "lines.markersize": 8,
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 13,
    "ytick.color": INK,
    "ytick.labelsize": 13,
}


@dataclass(frozen=True)
class Look:
    """How one category is drawn.

    Attributes
    ----------
    colour : str
        As matplotlib takes it.
    marker : str
        As matplotlib takes it.
    hatch : str
        As matplotlib takes it.
    line : str or tuple
        A line style.
    """

    colour: str
    marker: str
    hatch: str
    line: Any


def looks(categories: Iterable[Hashable], skip: int = 0) -> dict[Any, Look]:
    """Give each category, in order, a look of its own.

    Parameters
    ----------
    categories : iterable
        At most ten, less those that are skipped.
    skip : int
        Number of looks to leave out at the beginning.

    Raises
    ------
    ArgumentError
        If there are more, which no reader would tell apart.
    """
    names = list(dict.fromkeys(categories))
    if len(names) + skip > len(COLOURS):
        raise ArgumentError(
            f"{len(names)} categories cannot be told apart in one figure; expected at most "
            f"{len(COLOURS) - skip}: draw several figures, or fewer categories"
        )
    every = list(zip(COLOURS, MARKERS, HATCHES, LINES, strict=True))
    return {name: Look(*look) for name, look in zip(names, every[skip:], strict=False)}


@contextmanager
def style() -> Iterator[None]:
    """Set the book's style for what is drawn inside a `with` block."""
    import matplotlib as mpl
    import seaborn as sns

    # A notebook chooses its backend with the first figure, and shows figures from then on. The
    # end of the context must not undo that choice.
    interactive = mpl.is_interactive()
    try:
        with mpl.rc_context():
            sns.set_theme(style="whitegrid", rc=_RC)
            try:
                yield
            finally:
                interactive = mpl.is_interactive()
    finally:
        mpl.interactive(interactive)


P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Make a function draw in the book's style, whatever the caller's settings are."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return draw(*args, **kwargs)

    return wrapper


def new_axes(ax: Axes | None, width: float = WIDTH, height: float = 4.0) -> Axes:
    """Return `ax`, or the axes of a new figure of a size in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height))[1]


def order_of(table: pd.DataFrame, column: str, order: Iterable[Any] | None = None) -> list[Any]:
    """Return the values of a column to draw, in order: those given, or as they appear.

    Raises
    ------
    ArgumentError
        If an ordered value does not occur.
    """
    present = table[column].drop_duplicates().tolist()
    if order is None:
        return present
    wanted = list(order)
    absent = [value for value in wanted if value not in present]
    if absent:
        raise ArgumentError(f"column {column!r} has no {absent[0]!r}; it has {present}")
    return wanted


def check_table(table: pd.DataFrame, columns: Iterable[str], unique: Iterable[str] = ()) -> None:
    """Check that a table has columns, and one row only for each combination of `unique`.

    Raises
    ------
    ArgumentError
        Naming the column, or the combination that occurs twice.
    """
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise ArgumentError(
            f"the table has no column {absent[0]!r}; it has {', '.join(map(str, table.columns))}"
        )
    keys = list(unique)
    twice = table.loc[table.duplicated(keys), keys] if keys else table.iloc[:0]
    if len(twice):
        first = ", ".join(f"{key} {value!r}" for key, value in twice.iloc[0].items())
        raise ArgumentError(
            f"the table has more than one row for {first}; select one first "
            f"(for instance one embedding, correction and mode)"
        )


def mark(ax: Axes, x: Any, y: Any, look: Look, label: Any, **options: Any) -> list[Any]:
    """Draw points of a category; with `linestyle=look.line`, joined. Returns the one line."""
    drawn = {
        "linestyle": "none",
        "marker": look.marker,
        "color": look.colour,
        "markeredgecolor": INK,
        "zorder": 3,
        **options,
    }
    return ax.plot(x, y, label=str(label), **drawn)


def key(look: Look, label: Any, **options: Any) -> Any:
    """Return what stands for a category in a legend: its marker; with a line where asked for."""
    from matplotlib.lines import Line2D

    drawn = {"linestyle": "none", "marker": look.marker, "color": look.colour, **options}
    return Line2D([], [], **{"markeredgecolor": INK, "label": str(label), **drawn})


def list_rows(ax: Axes, rows: Iterable[Any], bins: int | None = None) -> None:
    """Name rows at the left of the axes, the first on top, with a faint line between them.

    With `bins`, the horizontal axis has at most so many steps between its ticks.
    """
    from matplotlib.ticker import MaxNLocator

    names = [str(row) for row in rows]
    ax.set_yticks(range(len(names)), names)
    ax.set(ylabel="", ylim=(len(names) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    if bins is not None:
        ax.xaxis.set_major_locator(MaxNLocator(bins, steps=[1, 2, 5, 10]))
        for boundary in range(len(names) - 1):
            ax.axhline(boundary + 0.5, color="#e8e8e8", linewidth=0.8, zorder=0)


def side_by_side(count: int, share: float) -> list[float]:
    """Return where `count` marks stand around a row's middle, over a share of its height."""
    return [(at - (count - 1) / 2) * share / count for at in range(count)]


def plane(points: Any, *labels: Any) -> np.ndarray:
    """Return points as an array (n, 2), each with as many labels.

    Raises
    ------
    ArgumentError
        Saying what was found.
    """
    array = np.asarray(points, dtype=float)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ArgumentError(f"points: expected shape (n, 2), found {array.shape}")
    for values in map(np.asarray, labels):
        if len(values) != len(array):
            raise ArgumentError(
                f"expected one category for each of {len(array)} points, found {len(values)}"
            )
    return array


def legend_below(ax: Axes, handles: list[Any], columns: int = 2, title: str | None = None) -> None:
    """Put a legend of `handles` under the axes, where it hides nothing on a narrow screen."""
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=columns, title=title)
