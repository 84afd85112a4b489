"""Figures for other widths than a notebook's: panels below one another, or more room for each.

tools/execute.py has the kernels that run the chapters hand over each figure whose panels stand
beside one another, and draws it twice more; the book shows a phone and a wide screen theirs.
"""

from __future__ import annotations

import base64
import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIME = "application/vnd.biasmir.figure"
"""Kind of output that a figure is, until its pictures have been drawn."""
START = "import sys; sys.path.append({!r}); import widths; widths.watch(get_ipython()); {}"
"""What a kernel begins with; nothing of it is left in sight of a chapter."""
NARROW, WIDE, DPI = 4.5, 8.2, 150
"""Inches; a notebook's figures have 6, and the type is as large in all."""
BETWEEN = 0.75
"""Inches for the title and the numbers between two panels."""


def first_line() -> str:
    """Return the line with which a kernel begins."""
    return START.format(str(Path(__file__).parent), "sys.path.pop(); del sys, widths")


def watch(shell: Any) -> None:
    """Have figures with panels beside one another handed over with what a shell shows."""

    def hand_over(figure: Figure) -> dict[str, str]:
        if not panels(figure):
            return {}
        figure.canvas.draw()
        return {MIME: base64.b64encode(pickle.dumps(figure)).decode("ascii")}

    formatter = shell.display_formatter.mimebundle_formatter
    formatter.for_type_by_name("matplotlib.figure", "Figure", hand_over)


def draw_all(notebook: Any, folder: Path) -> None:
    """Draw the figures that an executed notebook hands over, and take them out of it.

    The pictures are called after the one that the notebook has: `SUM-narrow.png`, `SUM-wide.png`.
    """
    for cell in notebook.cells:
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            handed = data.pop(MIME, None)
            if handed is None:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(base64.b64decode(data["image/png"])).hexdigest()
            for width, change in (("narrow", stack), ("wide", widen)):
                figure = pickle.loads(base64.b64decode(handed))
                change(figure)
                target = folder / f"{name}-{width}.png"
                figure.savefig(target, dpi=DPI, bbox_inches="tight", metadata={"Software": None})


def stack(figure: Figure) -> None:
    """Put the panels of a drawn figure below one another, each with its numbers and names."""
    from matplotlib.gridspec import GridSpec

    shown, (width, height) = panels(figure), figure.get_size_inches()
    across = _cell(shown[0]).get_gridspec().ncols
    heights = [_inches(ax, across * NARROW / width) for ax in shown]
    first = _first_column(shown)
    rest = height - sum(map(_inches, first)) + (len(shown) - len(first)) * BETWEEN
    figure.set_size_inches(NARROW, sum(heights) + rest)
    grid = GridSpec(len(shown), 1, figure, height_ratios=heights)
    for row, ax in enumerate(shown):
        ax.set_subplotspec(grid[row])
        # Numbers and names of axes stood at the edges of the grid only.
        ax.tick_params(labelleft=True)
        ax.set_ylabel(ax.get_ylabel() or shown[0].get_ylabel())
    below = [ax for ax in shown if ax.xaxis.get_tick_params().get("labelbottom", True)]
    if len(below) < len(shown):
        for ax in shown:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(ax.get_xlabel() or below[-1].get_xlabel())


def widen(figure: Figure) -> None:
    """Give the panels of a drawn figure more width, and those of equal scales more height."""
    width, height = figure.get_size_inches()
    more = [_inches(ax, WIDE / width) - _inches(ax) for ax in _first_column(panels(figure))]
    figure.set_size_inches(WIDE, height + sum(more))


def panels(figure: Figure) -> list[Axes]:
    """Return the axes of a figure that has several beside one another, in the order to stack them.

    By rows; where rows are of different kinds, and so of different heights, by columns.
    """
    axes = [ax for ax in figure.axes if ax.get_visible() and ax.get_subplotspec() is not None]
    if not axes or any(ax.figure is not figure for ax in axes):
        return []
    grid = _cell(axes[0]).get_gridspec()
    if grid.ncols == 1 or len(set(grid.get_width_ratios())) > 1:
        return []
    by_column = len(set(grid.get_height_ratios())) > 1
    places = [(_cell(ax).rowspan.start, _cell(ax).colspan.start) for ax in axes]
    order = sorted(
        zip(places, axes, strict=True), key=lambda one: one[0][:: -1 if by_column else 1]
    )
    return [ax for _, ax in order]


def _first_column(panels: list[Axes]) -> list[Axes]:
    return [ax for ax in panels if _cell(ax).colspan.start == 0]


def _cell(ax: Axes) -> Any:
    """Return the place of an axes in its grid."""
    return ax.get_subplotspec()


def _inches(ax: Axes, wider: float = 1.0) -> float:
    """Return the height of an axes; that of one with equal scales grows with its width."""
    height = float(ax.get_window_extent().height / ax.figure.dpi)
    return height * wider if ax.get_aspect() != "auto" else height
