"""One style for all figures."""

from __future__ import annotations

import base64
import io
from itertools import chain

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawn import table
from matplotlib.colors import to_hex
from PIL import Image

from biasmir_utils import plots
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import published_figures


class TestStyle:
    def test_ten_categories_are_told_apart_by_every_means(self):
        looks = plots.looks(range(10)).values()
        for means in ("colour", "marker", "hatch", "line"):
            assert len({getattr(look, means) for look in looks}) == 10
        with pytest.raises(ArgumentError, match="11 categories"):
            plots.looks(range(11))

    def test_skipped_looks_are_those_that_come_first(self):
        assert list(plots.looks("ab", skip=2).values()) == list(plots.looks("abcd").values())[2:]
        with pytest.raises(ArgumentError, match=r"3 categories .* at most 2"):
            plots.looks("abc", skip=8)

    def test_the_first_four_differ_in_lightness_from_their_neighbours(self):
        def grey(colour: str) -> float:
            red, green, blue = mpl.colors.to_rgb(colour)
            return 0.299 * red + 0.587 * green + 0.114 * blue

        greys = [grey(look.colour) for look in plots.looks(range(4)).values()]
        assert np.abs(np.diff(greys)).min() > 0.15

    def test_figures_have_an_opaque_white_ground_and_large_type(self, results):
        figure = plots.train_test_pairs(results)
        assert to_hex(figure.get_facecolor(), keep_alpha=True) == "#ffffffff"
        ax = figure.axes[0]
        assert to_hex(ax.get_facecolor(), keep_alpha=True) == "#ffffffff"
        # At a phone's 350 px for the figure's width, in pixels of the screen.
        smallest = min(tick.get_fontsize() for tick in ax.get_xticklabels())
        assert smallest / 72 * 350 / figure.get_figwidth() > 10

    def test_drawing_leaves_the_settings_of_the_caller_alone(self, results):
        before = dict(mpl.rcParams)
        plots.train_test_pairs(results)
        assert dict(mpl.rcParams) == before


PLANE = np.zeros((3, 2))
ONE = table("label roc_auc", ("cello", 0.9), ("flute", 0.8))
CHANGES = published_figures("change against none")
JUDGED = table("embedding correction information gain loss", ("yamnet", "lda", "all", 0.1, 0.0))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("dots_and_whiskers", [pd.concat([ONE, ONE])], "more than one row for label 'cello'"),
        ("falls", [ONE], "no column 'fall'; it has label, roc_auc"),
        ("change_by_label", [ONE], "no column 'correction'"),
        ("projection", [np.zeros((4, 3)), list("abcd")], r"expected shape \(n, 2\)"),
        ("projection", [PLANE, list("ab")], "each of 3 points, found 2"),
        ("category_means", [PLANE, list("xxx"), list("abc")], "two datasets"),
        ("domain_means", [{"": PLANE}, list("abc")], "two domains"),
        ("shift_arrows", [{"mfcc": PLANE}, list("ab")], "each of 3 points, found 2"),
        ("spectrograms", [{"": (np.zeros((100, 2)), 22_050)}], r"shape \(n_samples,\)"),
        ("train_test_pairs", [CHANGES[:0].assign(roc_auc=0.5)], "two test sets"),
        ("published_changes", [CHANGES.query("train_set == test_set")], "two different datasets"),
        ("published_pairs", [published_figures("mean")], "more than one row"),
        ("gain_and_loss", [JUDGED], "'information' has 'all'; expected source only"),
        ("gain_and_loss", [JUDGED.assign(gain=np.nan)], "no correction with a gain"),
    ],
)
def test_what_cannot_be_drawn_is_refused(name, given, message):
    with pytest.raises(ArgumentError, match=message):
        getattr(plots, name)(*given)


def test_an_unknown_row_in_the_order_is_named():
    with pytest.raises(ArgumentError, match="no 'tuba'"):
        plots.dots_and_whiskers(ONE, order=["cello", "tuba"])


def test_a_file_is_sharper_than_a_screen():
    file = io.BytesIO()
    figure = plots.score_distributions({"a": [1.0, 0.5]}, threshold=0.6).figure
    figure.savefig(file)
    with Image.open(file) as picture:
        assert picture.width == 200 * figure.get_figwidth()


DRAW = "plots.score_distributions({'a': [1.0, 0.5]}, threshold=0.6);"


def run(folder, *sources):
    """Run cells in a notebook of their own and return it."""
    import nbformat
    from nbclient import NotebookClient

    sources = ("from biasmir_utils import plots", *sources)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(folder))
    return notebook


@pytest.mark.parametrize(
    ("formats", "kind"),
    [
        ("%config InlineBackend.figure_formats = ['png']", "image/png"),
        (
            "import matplotlib_inline.backend_inline as one\none.set_matplotlib_formats('svg')",
            "image/svg+xml",
        ),
    ],
)
def test_a_notebook_keeps_the_formats_that_were_chosen_for_it(tmp_path, formats, kind):
    later = "%config InlineBackend.figure_formats = ['jpeg']"
    notebook = run(tmp_path, formats, DRAW, DRAW, later, DRAW)
    shown = [(cell.outputs[0].data, cell.outputs[0].metadata) for cell in notebook.cells[2:4]]
    shown += [(notebook.cells[5].outputs[0].data, {})]
    for (data, metadata), one in zip(shown, (kind, kind, "image/jpeg"), strict=True):
        assert {name for name in data if name.startswith("image/")} == {one}
        assert "width" not in metadata.get(one, {}), "not drawn for a screen with twice the pixels"


def test_a_notebook_shows_every_figure_once(tmp_path):
    own = f"%config InlineBackend.figure_formats = ['png']\n{DRAW}"
    notebook = run(tmp_path, DRAW, DRAW, f"{DRAW}\n{DRAW}", own)
    (changed,) = notebook.cells.pop().outputs
    assert "width" not in changed.metadata.get("image/png", {}), "what is chosen later stays"
    del notebook.cells[0]
    images = [
        [output for output in cell.outputs if "image/png" in output.get("data", {})]
        for cell in notebook.cells
    ]
    assert [len(shown) for shown in images] == [1, 1, 2]
    assert not [one for cell in notebook.cells for one in cell.outputs if "text" in one]
    # Sharp, and no wider than a notebook's text.
    for output in chain.from_iterable(images):
        with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as picture:
            wide = output.metadata["image/png"]["width"]
            assert wide < 650
            assert picture.width in (2 * wide, 2 * wide + 1)


@pytest.mark.parametrize("name", ["$x_{$", r"a $\input{b}$ c"])
def test_names_are_drawn_as_they_are(name):
    row = {"embedding": name, "correction": "lda", "information": "source only"}
    summary = pd.DataFrame([{**row, "gain": 0.1, "loss": 0.2}])
    table = pd.DataFrame([{"label": name, "test_set": name, "roc_auc": 0.7}])
    ax = plots.dots_and_whiskers(table, by="test_set")
    for figure in (plots.gain_and_loss(summary), ax.figure):
        figure.canvas.draw()
        assert name in {text.get_text() for text in figure.findobj(mpl.text.Text)}
