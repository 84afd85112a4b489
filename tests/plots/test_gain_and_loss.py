"""The figure of a full report: what each correction gains across and loses inside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import EMBEDDINGS, legend, texts
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from biasmir_utils import plots


@pytest.fixture
def judged() -> pd.DataFrame:
    """A summary of a full report; every number is another one."""
    levels = ["source only", "unlabelled target", "grouped target", "labelled target"]
    corrections = dict(
        zip(["none", "random", "leace", "mlda", "lda"], levels[:1] + levels, strict=True)
    )
    keys = [(one, *known) for one in EMBEDDINGS for known in corrections.items()]
    table = pd.DataFrame(keys, columns=["embedding", "correction", "information"])
    rng, corrected = np.random.default_rng(3), table["correction"] != "none"
    for quantity in ("gain", "loss"):
        table[quantity] = pd.Series(rng.normal(0, 0.01, len(table))).where(corrected)
        table[f"{quantity}_low"] = table[quantity] - rng.uniform(0.01, 0.03, len(table))
        table[f"{quantity}_high"] = table[quantity] + rng.uniform(0.01, 0.03, len(table))
    return table


def marks(ax) -> dict[str, object]:
    """The marker of each correction by its name."""
    return {line.get_label(): line for line in ax.get_lines() if line.get_label()[0] != "_"}


def blocks(figure: Figure) -> dict[str, tuple]:
    """The Axes of the gain and of the loss, by the title of the block."""
    axes = [ax for ax in figure.axes if ax.get_visible()]
    pairs = zip(axes[::2], axes[1::2], strict=True)
    return {gain.texts[0].get_text(): (gain, loss) for gain, loss in pairs}


def test_points_and_intervals_are_where_they_are_said_to_be(judged):
    figure = plots.gain_and_loss(judged)
    assert list(blocks(figure)) == EMBEDDINGS
    order = judged.groupby("correction")["gain"].mean().dropna()
    order = order.sort_values(ascending=False).index.tolist()
    for embedding, axes in blocks(figure).items():
        own = judged[(judged["embedding"] == embedding) & judged["gain"].notna()]
        own = own.set_index("correction")
        for ax, quantity in zip(axes, ("gain", "loss"), strict=True):
            assert set(marks(ax)) == set(own.index)
            for name, point in marks(ax).items():
                assert point.get_xdata()[0] == own.at[name, quantity]
                assert order[int(point.get_ydata()[0])] == name
            assert texts(axes[0]) == order
            assert ax.get_ylim()[0] > ax.get_ylim()[1], "the largest gain is on top"
            ends = np.array(ax.collections[0].get_segments())
            said = own.loc[order, [f"{quantity}_low", f"{quantity}_high"]]
            np.testing.assert_allclose(ends[:, :, 0], said)
            np.testing.assert_array_equal(ends[:, 0, 1], range(len(order)))
    assert legend(figure) == judged["information"].unique().tolist()


def test_right_of_zero_is_better_on_both_sides_and_one_scale_serves_all(judged):
    figure = plots.gain_and_loss(judged)
    for gain, loss in blocks(figure).values():
        low, high = gain.get_xlim()
        assert low < 0 < high
        assert loss.get_xlim() == (-low, -high)
        assert gain.get_xlim() == figure.axes[0].get_xlim()
        for ax, quantity in ((gain, "gain"), (loss, "loss")):
            ends = judged[[f"{quantity}_low", f"{quantity}_high"]].dropna().to_numpy()
            assert min(ax.get_xlim()) < ends.min() < ends.max() < max(ax.get_xlim())


@pytest.mark.parametrize(("far", "clipped"), [(0.119, False), (0.121, True), (-0.3, True)])
def test_what_is_twelve_times_further_than_usual_stands_at_the_edge(judged, far, clipped):
    changes = judged["gain"].notna()
    for quantity in ("gain", "loss"):
        judged.loc[changes, [quantity, f"{quantity}_low", f"{quantity}_high"]] = 0.008, 0.006, 0.01
    one = (judged["correction"] == "lda") & (judged["embedding"] == "yamnet")
    judged.loc[one, ["gain", "gain_low", "gain_high"]] = [far, *sorted([far, far * 0.9])]
    # What changes nothing is at 0 on any scale, so it does not count.
    nothing = judged["correction"] == "random"
    judged.loc[nothing, judged.select_dtypes("number").columns] = 0.0
    figure = plots.gain_and_loss(judged)
    said = figure.subfigs[0]._supxlabel.get_text()
    assert ("stands at the edge" in said) == clipped
    gain, _ = blocks(figure)["yamnet"]
    at = marks(gain)["lda"].get_xdata()[0]
    written = [text.get_text() for text in gain.texts[1:]]
    if not clipped or abs(far) < max(map(abs, gain.get_xlim())):
        assert at == far
        assert not written
    else:
        assert at in gain.get_xlim()
        assert written == [f"{far:.2f}".replace("-", "\N{MINUS SIGN}")]


@pytest.fixture
def crowded() -> pd.DataFrame:
    """Twelve corrections of which all but two change next to nothing, as is usual."""
    names = ["lda", "mlda", "center", "meanproj", "leace", "leace:groups=group"]
    names += ["coral", "gaussian_ot", "inlp", "random"]
    names += ["random:random_state=1", "leace:given=label:kernel=fastfood"]
    keys = [(embedding, name) for embedding in EMBEDDINGS for name in names]
    table = pd.DataFrame(keys, columns=["embedding", "correction"])
    seen = {"random": "source only"}
    table["information"] = table["correction"].map(seen).fillna("labelled target")
    small = pd.Series(1e-4 * (np.arange(len(table)) % 3))
    table["gain"] = table["correction"].map({"coral": -0.13, "inlp": 0.03}).fillna(small)
    table["loss"] = -table["gain"]
    for quantity in ("gain", "loss"):
        table[f"{quantity}_low"] = table[quantity] - 0.004
        table[f"{quantity}_high"] = table[quantity] + 0.005
    return table


@pytest.mark.parametrize("pairs", [False, True])
def test_nothing_hides_anything_and_all_is_on_the_page(crowded, pairs):
    names = ["bandfont_bandchain/solofont_bandchain", "bandfont_bandchain/bandfont_solochain"]
    if pairs:
        crowded = pd.concat([crowded.assign(pair=name) for name in names], ignore_index=True)
    figure = plots.gain_and_loss(crowded)
    figure.draw_without_rendering()
    page = figure.bbox
    titles = [f"{embedding}: {name}" for embedding in EMBEDDINGS for name in names]
    assert list(blocks(figure)) == (titles if pairs else EMBEDDINGS)
    drawn = [ax for pair in blocks(figure).values() for ax in pair]
    assert sum(len(marks(ax)) for ax in drawn) == 2 * len(crowded)
    for gain, loss in blocks(figure).values():
        for ax in (gain, loss):
            for labels in (ax.get_yticklabels(), ax.get_xticklabels()):
                written = [text for text in labels if text.get_visible() and text.get_text()]
                boxes = [text.get_window_extent() for text in written]
                boxes = [box for box in boxes if box.width]
                for number, box in enumerate(boxes):
                    assert not any(box.overlaps(other) for other in boxes[:number])
        title = gain.texts[0].get_window_extent()
        assert page.x0 <= title.x0 <= title.x1 <= page.x1
        assert title.y0 >= gain.bbox.y1 + gain.title.get_fontsize() * figure.dpi / 72
    beneath = [*figure.legends, figure.subfigs[0]._supxlabel]
    legend_box, name_box = (one.get_window_extent(figure.canvas.get_renderer()) for one in beneath)
    assert legend_box.y1 <= name_box.y0
    for artist in beneath:
        box = artist.get_window_extent(figure.canvas.get_renderer())
        assert page.x0 <= box.x0 <= box.x1 <= page.x1


def test_what_was_seen_is_told_apart_without_colour(judged):
    figure = plots.gain_and_loss(judged[judged["embedding"] == "musicnn"])
    for ax in figure.axes:
        points = marks(ax)
        points = [points[name] for name in ("random", "leace", "mlda", "lda")]
        assert len({point.get_marker() for point in points}) == 4
        lightness = [np.dot(to_rgb(p.get_markerfacecolor()), [0.299, 0.587, 0.114]) for p in points]
        assert (np.diff(lightness) < -0.1).all()


def test_gain_and_loss_names_modes_and_doses_where_there_are_several(judged):
    table = judged.assign(mode="global", alpha=1.0)
    more = table.assign(mode="unlabelled", alpha=0.5)
    figure = plots.gain_and_loss(pd.concat([table, more]))
    said = [name.replace("\n", " ") for name in texts(figure.axes[0])]
    assert len(said) == 8
    at = said.index("leace (global)")
    assert said[at + 1] == "leace alpha=0.5 (unlabelled)", "next to one another"


@pytest.mark.parametrize(
    ("modes", "names"),
    [
        (["none", "unlabelled"], ["lda (global)", "lda (unlabelled)"]),
        (["none"], ["lda"]),
        (["global", "none"], ["lda", "lda"]),
        (["classwise", "none", "global"], ["lda (classwise)", "lda", "lda (global)"]),
    ],
)
def test_a_correction_with_nothing_to_fit_is_named_like_its_twin(judged, modes, names):
    table = judged.query("correction == 'lda' and embedding == 'musicnn'")
    figure = plots.gain_and_loss(pd.concat([table.assign(mode=mode) for mode in modes]))
    assert [name.replace("\n", " ") for name in texts(figure.axes[0])] == names
