"""One style for all figures: white ground, large type, told apart without colour.

Every category has a colour, a marker, a hatch and a line style. The colours are those of
Petroff (2021), chosen for readers with any kind of colour vision, in an order in which
neighbours also differ in lightness.

References
----------
M. A. Petroff, "Accessible color sequences for data visualization", arXiv 2107.02270, 2021.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Order: TypeAlias = Sequence[Any] | None
"""Values of a column in the order to draw; without it as they appear."""

INK = "#222222"
"""Text, axes, edges of markers."""
MUTED = "#6b6b6b"
"""Reference lines and what is drawn behind."""
REFERENCE: dict[str, Any] = {"color": MUTED, "linestyle": "--", "linewidth": 1.6, "zorder": 1}
"""How a reference line is drawn: chance, no change."""
WIDTH = 6.0
"""Width of a figure in inches. At a phone's 350 px the smallest type is still 10 px high."""


class Look(NamedTuple):
    """How one category is drawn, in matplotlib's words.

    Attributes
    ----------
    colour, marker : str
    hatch : str
    line : str or tuple
        A line style.
    """

    colour: str
    marker: str
    hatch: str = ""
    line: Any = "-"


Looks: TypeAlias = dict[Any, Look]

_LOOKS = (
    Look("#3f90da", "o", "", "-"),
    Look("#bd1f01", "^", "///", "--"),
    Look("#ffa90e", "s", "...", "-."),
    Look("#832db6", "D", "xxx", ":"),
    Look("#94a4a2", "v", "\\\\\\", (0, (6, 1, 1, 1, 1, 1))),
    Look("#a96b59", "P", "---", (0, (3, 1))),
    Look("#e76300", "X", "+++", (0, (8, 2))),
    Look("#717581", "<", "ooo", (0, (1, 3))),
    Look("#b9ac70", "*", "||", (0, (5, 3, 1, 3))),
    Look("#92dadd", ">", "**", (0, (2, 1, 2, 3))),
)


def looks(categories: Iterable[Hashable], skip: int = 0) -> Looks:
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
    names, free = list(dict.fromkeys(categories)), _LOOKS[skip:]
    if len(names) > len(free):
        raise ArgumentError(
            f"{len(names)} categories cannot be told apart in one figure; expected at most "
            f"{len(free)}: draw several figures, or fewer categories"
        )
    return dict(zip(names, free, strict=False))


@contextmanager
def style() -> Iterator[None]:
    """Set the book's style inside a `with` block, or for a function: `@style()`."""
    import matplotlib as mpl
    import seaborn as sns

    book = mpl.rc_params_from_file(
        Path(__file__).with_name("book.mplstyle"), use_default_template=False
    )
    # A notebook chooses its backend with the first figure, and shows figures from then on. The
    # end of the context must not undo that choice.
    interactive = mpl.is_interactive()
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        book["figure.dpi"] = 100  # as wide as a notebook's text; what is wider would be shrunk
        _draw_sharp(shell)
    try:
        with mpl.rc_context():
            sns.set_theme(style="whitegrid", font="DejaVu Sans", rc=book)
            try:
                yield
            finally:
                interactive = mpl.is_interactive()
    finally:
        mpl.interactive(interactive)


@cache
def _draw_sharp(shell: Any) -> None:
    """Have a notebook show figures with two pixels for one, unless it has formats of its own.

    Once only, so that formats which are set later stay.
    """
    from matplotlib.figure import Figure
    from matplotlib_inline.config import InlineBackend

    inline = InlineBackend.instance(parent=shell)
    configured = {"figure_format", "figure_formats"} & set(inline.config.get("InlineBackend", {}))
    others = ("image/svg+xml", "image/jpeg", "application/pdf")
    formatters = shell.display_formatter.formatters
    chosen = any(Figure in formatters[one].type_printers for one in others)
    if inline.figure_formats == {"png"} and not configured and not chosen:
        inline.figure_formats = {"retina"}


def panels(
    count: int, height: float, across: int | None = None, **share: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` axes, `across` of them beside one another, else all."""
    import matplotlib.pyplot as plt

    across = min(across or count, count)
    shape = -(-count // across), across
    figure, grid = plt.subplots(*shape, figsize=(WIDTH, height), squeeze=False, **share)
    axes = list(grid.ravel())
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]


def new_axes(ax: Axes | None, height: float) -> Axes:
    """Return `ax`, or the axes of a new figure of a height in inches."""
    return panels(1, height)[1][0] if ax is None else ax


def order_of(table: pd.DataFrame, column: str, order: Iterable[Any] | None = None) -> list[Any]:
    """Return the values of a column to draw, in order: those given, or as they appear.

    Raises
    ------
    ArgumentError
        If an ordered value does not occur.
    """
    present = table[column].drop_duplicates().tolist()
    wanted = present if order is None else list(order)
    for value in wanted:
        if value not in present:
            raise ArgumentError(f"column {column!r} has no {value!r}; it has {present}")
    return wanted


def check_table(
    table: pd.DataFrame, keys: Sequence[str], *values: str, unique: bool = True
) -> None:
    """Check that a table has columns, and one row only for each combination of `keys`.

    Raises
    ------
    ArgumentError
        Naming the column, or the combination that occurs twice.
    """
    for column in (*keys, *values):
        if column not in table:
            raise ArgumentError(
                f"the table has no column {column!r}; it has {', '.join(map(str, table.columns))}"
            )
    twice = table.loc[table.duplicated(list(keys)), list(keys)]
    if unique and len(twice):
        first = ", ".join(f"{key} {value!r}" for key, value in twice.iloc[0].items())
        raise ArgumentError(
            f"the table has more than one row for {first}; select one first "
            f"(for instance one embedding, correction and mode)"
        )


def _marker(look: Look, options: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of a category's markers; some of them by `options`."""
    own = {"linestyle": "none", "marker": look.marker, "color": look.colour}
    return {**own, "markeredgecolor": INK, **options}


def mark(ax: Axes, x: Any, y: Any, look: Look, label: Any, **options: Any) -> list[Any]:
    """Draw points of a category; with `linestyle=look.line`, joined. Returns the one line."""
    return ax.plot(x, y, label=str(label), **_marker(look, {"zorder": 3, **options}))


def key(look: Look, label: Any, **options: Any) -> Any:
    """Return what stands for a category in a legend: its marker; with a line where asked for."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=str(label), **_marker(look, options))


def placed(
    table: pd.DataFrame, row: str, rows: list[Any], by: str | None, kinds: Looks, share: float
) -> Iterator[tuple[Any, Look, pd.DataFrame, np.ndarray]]:
    """Yield each category with its look, its rows in order, and the heights at which they stand.

    The categories of a row stand beside one another, over a share of its height.
    """
    for (name, look), offset in zip(kinds.items(), side_by_side(len(kinds), share), strict=True):
        part = table if by is None else table[table[by] == name]
        yield name, look, part.set_index(row).reindex(rows), np.arange(len(rows)) + offset


def dots(ax: Axes, shown: Iterable[Any], value: str, width: float, **options: Any) -> list[Any]:
    """Draw what `placed` yields as dots, with an interval of a width where the table has one."""
    lines = []
    for name, look, part, heights in shown:
        if {"low", "high"} <= set(part.columns):
            ax.hlines(heights, part["low"], part["high"], color=INK, linewidth=width, zorder=2)
        lines += mark(ax, part[value], heights, look, name, **options)
    return lines


def list_rows(ax: Axes, rows: Iterable[Any], bins: int | None = None) -> None:
    """Name rows at the left of the axes, the first on top, with a faint line between them.

    With `bins`, the horizontal axis has at most so many steps between its ticks.
    """
    names = [str(row) for row in rows]
    ax.set_yticks(range(len(names)), names)
    ax.set(ylabel="", ylim=(len(names) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    if bins is not None:
        round_ticks(ax, bins)
        for boundary in range(len(names) - 1):
            ax.axhline(boundary + 0.5, color="#e8e8e8", linewidth=0.8, zorder=0)


def round_ticks(ax: Axes, bins: int) -> None:
    """Put at most so many ticks on the horizontal axis, at round numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(bins, steps=[1, 2, 5, 10]))


def side_by_side(count: int, share: float) -> list[float]:
    """Return where `count` marks stand around a row's middle, over a share of its height."""
    return [(at - (count - 1) / 2) * share / count for at in range(count)]


def number_grid(
    ax: Axes, values: pd.DataFrame, texts: pd.DataFrame, cmap: str, limits: Any, **text: Any
) -> None:
    """Draw a grid of tinted cells with a text in each."""
    import seaborn as sns

    low, high = limits
    look = {"linewidths": 1, "cbar": False, "annot_kws": text}
    sns.heatmap(values, annot=texts, fmt="", cmap=cmap, vmin=low, vmax=high, **look, ax=ax)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    ax.tick_params(axis="y", rotation=0)


def signed_text(text: str) -> str:
    """Write a number's minus as one."""
    return text.replace("-", "\N{MINUS SIGN}")


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


def legend_below(ax: Axes, handles: Any = None, columns: int = 2, title: str | None = None) -> None:
    """Put a legend under the axes, where it hides nothing on a narrow screen.

    It names `handles`, or each name that the axes have.
    """
    shown = ax.get_legend_handles_labels()[0] if handles is None else handles
    ax.figure.legend(handles=shown, loc="outside lower center", ncols=columns, title=title)
