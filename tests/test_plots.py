"""The figures draw what the data say: positions, heights, whiskers, names, order."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from biasmir_utils import plots
from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.points import spread
from biasmir_utils.plots.scores import signed

mpl.use("Agg")

LABELS = ["violin", "cello", "flute"]
EMBEDDINGS = ["yamnet", "musicnn"]


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
        for label in LABELS
    ]
    table = pd.DataFrame(rows)
    table["roc_auc"] = np.random.default_rng(0).permutation(np.linspace(0.6, 0.97, len(table)))
    return table.assign(low=table["roc_auc"] - 0.02, high=table["roc_auc"] + 0.03)


def texts(ax) -> list[str]:
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


class TestDotsAndWhiskers:
    @pytest.fixture
    def one(self, results: pd.DataFrame) -> pd.DataFrame:
        return results[
            (results["embedding"] == "yamnet") & (results["train_set"] == results["test_set"])
        ]

    def test_dots_stand_at_the_values_in_the_order_asked_for(self, one: pd.DataFrame):
        order = sorted(LABELS)
        ax = plots.label_scores(one, by="test_set", order=order)
        assert texts(ax) == order
        assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first label is on top"
        for test_set in ("solo", "band"):
            expected = one[one["test_set"] == test_set].set_index("label")["roc_auc"][order]
            points = lines(ax)[test_set]
            np.testing.assert_allclose(points[:, 0], expected)
            np.testing.assert_array_equal(np.round(points[:, 1]), [0, 1, 2])

    def test_whiskers_reach_from_low_to_high_at_the_height_of_their_dot(self, one: pd.DataFrame):
        ax = plots.label_scores(one, by="test_set")
        whiskers = [c for c in ax.collections if len(c.get_segments())]
        for test_set, collection in zip(("solo", "band"), whiskers, strict=True):
            part = one[one["test_set"] == test_set]
            segments = np.array(collection.get_segments())
            np.testing.assert_allclose(segments[:, 0, 0], part["low"])
            np.testing.assert_allclose(segments[:, 1, 0], part["high"])
            np.testing.assert_allclose(segments[:, 0, 1], lines(ax)[test_set][:, 1])

    def test_chance_and_the_baseline_are_drawn_and_named(self, one: pd.DataFrame):
        solo = one[one["test_set"] == "solo"].assign(genre=[0.55, 0.61, 0.52])
        ax = plots.label_scores(solo, baseline="genre", baseline_name="genre only")
        assert lines(ax)["genre only"][:, 0].tolist() == [0.55, 0.61, 0.52]
        assert lines(ax)["chance"][:, 0].tolist() == [0.5, 0.5]
        assert legend(ax.figure) == ["roc_auc", "genre only", "chance"]

    def test_a_label_without_a_value_keeps_its_row(self, one: pd.DataFrame):
        solo = one[(one["test_set"] == "solo") & (one["label"] != "cello")]
        both = pd.concat([solo, one[one["test_set"] == "band"]])
        ax = plots.label_scores(both, by="test_set", order=LABELS)
        assert np.isnan(lines(ax)["solo"][1, 0])
        assert lines(ax)["solo"][2, 0] == solo.set_index("label").at["flute", "roc_auc"]

    def test_a_table_with_two_rows_for_a_label_is_refused(self, results: pd.DataFrame):
        with pytest.raises(ArgumentError, match="more than one row for label 'violin'"):
            plots.label_scores(results)

    def test_a_missing_column_is_named(self, one: pd.DataFrame):
        with pytest.raises(ArgumentError, match="no column 'fall'; it has label"):
            plots.falls(one, by="test_set")

    def test_an_unknown_label_in_the_order_is_named(self, one: pd.DataFrame):
        with pytest.raises(ArgumentError, match="no 'tuba'"):
            plots.label_scores(one, by="test_set", order=["violin", "tuba"])

    def test_falls_and_changes_are_drawn_around_zero(self):
        table = pd.DataFrame({"label": LABELS, "fall": [0.1, 0.05, -0.02]})
        ax = plots.falls(table)
        assert lines(ax)["fall"][:, 0].tolist() == [0.1, 0.05, -0.02]
        assert lines(ax)["no fall"][:, 0].tolist() == [0.0, 0.0]
        table = pd.DataFrame({"correction": ["lda", "mlda"], "change": [0.001, -0.002]})
        ax = plots.changes(table)
        assert texts(ax) == ["lda", "mlda"]
        assert lines(ax)["change"][:, 0].tolist() == [0.001, -0.002]

    def test_it_draws_into_given_axes(self, one: pd.DataFrame):
        ax = Figure().subplots()
        assert plots.label_scores(one, by="test_set", ax=ax) is ax
        assert set(lines(ax)) == {"solo", "band", "chance"}


class TestPairs:
    def test_each_panel_holds_one_test_set_and_its_slopes_are_the_falls(self, results):
        figure = plots.train_test_pairs(results)
        for ax, test_set, other in zip(
            figure.axes, ("solo", "band"), ("band", "solo"), strict=True
        ):
            assert ax.get_title() == f"tested on {test_set}"
            assert [tick.get_text() for tick in ax.get_xticklabels()] == [test_set, other]
            for embedding in EMBEDDINGS:
                of = results[
                    (results["embedding"] == embedding) & (results["test_set"] == test_set)
                ]
                means = of.groupby("train_set")["roc_auc"].mean()
                drawn = lines(ax)[embedding]
                np.testing.assert_allclose(drawn[:, 1], [means[test_set], means[other]])
                np.testing.assert_array_equal(np.round(drawn[:, 0]), [0, 1])

    def test_intervals_are_drawn_where_there_is_one_row_for_each_pair(self, results):
        keys = ["embedding", "train_set", "test_set"]
        table = results.groupby(keys)[["roc_auc", "low", "high"]].mean().reset_index()
        figure = plots.train_test_pairs(table, datasets=["band", "solo"])
        assert figure.axes[0].get_title() == "tested on band"
        drawn = [c.get_segments()[0] for c in figure.axes[0].collections]
        expected = table[table["test_set"] == "band"]
        assert sorted(segment[0, 1] for segment in drawn) == pytest.approx(sorted(expected["low"]))
        assert sorted(segment[1, 1] for segment in drawn) == pytest.approx(sorted(expected["high"]))
        with_labels = plots.train_test_pairs(results)
        assert not with_labels.axes[0].collections

    def test_three_test_sets_are_refused(self, results):
        more = pd.concat([results, results.assign(test_set="third")])
        with pytest.raises(ArgumentError, match="two test sets"):
            plots.train_test_pairs(more)

    def test_ranks_are_those_of_the_means_and_the_best_is_on_top(self, results):
        ax = plots.ranking(results, pairs=[("solo", "solo"), ("solo", "band")])
        assert ax.get_ylim()[0] > ax.get_ylim()[1]
        means = results.groupby(["train_set", "test_set", "embedding"])["roc_auc"].mean()
        for position, pair in enumerate([("solo", "solo"), ("solo", "band")]):
            best = means.loc[pair].idxmax()
            assert lines(ax)[best][position].tolist() == [position, 1]
        written = [text.get_text() for text in ax.texts]
        assert f"{means['solo', 'band', 'yamnet']:.3f}" in written

    def test_pairs_inside_a_dataset_come_first(self, results):
        ax = plots.ranking(results)
        names = [
            tick.get_text().replace("\n\N{DOWNWARDS ARROW}\n", " ") for tick in ax.get_xticklabels()
        ]
        assert {names[0], names[1]} == {"solo solo", "band band"}

    def test_ties_share_a_rank(self):
        table = pd.DataFrame(
            {"embedding": ["a", "b"], "train_set": "s", "test_set": "s", "roc_auc": [0.9, 0.9]}
        )
        ax = plots.ranking(table)
        assert lines(ax)["a"][0, 1] == lines(ax)["b"][0, 1] == 1


class TestChangeByLabel:
    def test_cells_hold_the_signed_change_in_thousandths(self):
        table = pd.DataFrame(
            {
                "label": ["cello", "cello", "flute", "flute"],
                "correction": ["lda", "mlda"] * 2,
                "change": [0.0123, -0.0061, 0.0002, -0.0004],
            }
        )
        ax = plots.change_by_label(table, order=["mlda", "lda"])
        assert [text.get_text() for text in ax.texts] == ["\N{MINUS SIGN}6", "+12", "0", "0"]
        np.testing.assert_allclose(
            np.asarray(ax.collections[0].get_array()).reshape(2, 2), [[-6.1, 12.3], [-0.4, 0.2]]
        )
        assert texts(ax) == ["cello", "flute"]
        low, high = ax.collections[0].get_clim()
        assert low == -high, "tints are symmetric around zero"

    @given(st.floats(-1000, 1000))
    def test_signs_are_read_back(self, value: float):
        text = signed(value).replace("\N{MINUS SIGN}", "-")
        assert int(text) == round(value)
        assert text == "0" or text[0] in "+-"

    def test_a_missing_value_is_a_dash(self):
        assert signed(float("nan")) == "\N{EN DASH}"


def test_score_distributions_sum_to_one_for_each_class():
    scores = {"negative": np.linspace(-3, 0, 300), "positive": np.linspace(0, 2, 40)}
    ax = plots.score_distributions(scores, threshold=0.5, bins=10)
    for container, values in zip(ax.containers, scores.values(), strict=True):
        heights = [bar.get_height() for bar in container]
        assert sum(heights) == pytest.approx(1)
        middle = sum(bar.get_height() * (bar.get_x() + bar.get_width() / 2) for bar in container)
        assert middle == pytest.approx(values.mean(), abs=0.1)
    assert lines(ax)["threshold"][:, 0].tolist() == [0.5, 0.5]
    assert legend(ax.figure) == ["negative", "positive", "threshold"]


class TestPoints:
    def test_each_category_has_its_points_colour_and_marker(self):
        points = np.arange(12.0).reshape(6, 2)
        category = ["a", "b", "a", "c", "b", "a"]
        ax = plots.projection(points, category, order=["b", "a"], names=("one", "two"))
        drawn = {c.get_label(): c for c in ax.collections}
        assert list(drawn) == ["b", "a"], "categories that are not in the order are left out"
        for name, collection in drawn.items():
            expected = points[[value == name for value in category]]
            np.testing.assert_array_equal(collection.get_offsets(), expected)
        faces = {to_hex(c.get_facecolor()[0]) for c in drawn.values()}
        shapes = {c.get_paths()[0].vertices.tobytes() for c in drawn.values()}
        assert len(faces) == len(shapes) == 2
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("one", "two")
        assert legend(ax.figure) == ["b", "a"]

    @pytest.mark.parametrize("shape", [(4, 3), (4,)])
    def test_points_must_be_in_the_plane(self, shape: tuple[int, ...]):
        with pytest.raises(ArgumentError, match=r"expected shape \(n, 2\)"):
            plots.projection(np.zeros(shape), list("abcd"))

    def test_categories_must_fit_the_points(self):
        with pytest.raises(ArgumentError, match="each of 4 points, found 3"):
            plots.projection(np.zeros((4, 2)), list("abc"))

    def test_means_are_those_of_the_category_within_the_dataset(self):
        rng = np.random.default_rng(1)
        points = rng.normal(size=(40, 2))
        category = np.array(["cello", "flute"] * 20)
        dataset = np.repeat(["solo", "band"], 20)
        ax = plots.category_means(points, category, dataset, order=["flute", "cello"])
        for name in ("solo", "band"):
            expected = [
                points[(category == kind) & (dataset == name)].mean(axis=0)
                for kind in ("flute", "cello")
            ]
            np.testing.assert_allclose(lines(ax)[name], expected)
        written = {text.get_text(): text.xy for text in ax.texts if text.get_text()}
        cello = [lines(ax)[name][1] for name in ("solo", "band")]
        np.testing.assert_allclose(written["cello"], max(cello, key=lambda point: point[0]))
        right = max(point[0] for name in ("solo", "band") for point in lines(ax)[name])
        assert all(text.xyann[0] > right for text in ax.texts if text.get_text())

    def test_means_of_three_datasets_are_refused(self):
        with pytest.raises(ArgumentError, match="two datasets"):
            plots.category_means(np.zeros((3, 2)), ["x"] * 3, ["a", "b", "c"])

    @given(st.lists(st.floats(-10, 10), min_size=1, max_size=12), st.floats(0.01, 3))
    def test_spread_keeps_order_and_gap(self, positions: list[float], gap: float):
        moved = spread(positions, gap)
        order = np.argsort(positions, kind="stable")
        assert (np.diff(moved[order]) >= gap * (1 - 1e-9)).all()
        assert moved.mean() == pytest.approx(np.mean(positions), abs=1e-6)

    def test_spread_leaves_alone_what_is_apart(self):
        assert spread([3.0, 1.0, 2.0], 0.5).tolist() == [3.0, 1.0, 2.0]

    def test_the_toy_shows_domains_classes_direction_and_boundary(self):
        X = np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]])
        ax = plots.toy_domains(
            X, list("AABB"), [0, 1, 0, 1], direction=(2, 0), boundary=(0.0, 1.0, -0.5)
        )
        drawn = lines(ax)
        assert drawn["A, negative"].tolist() == [[0, 0]]
        assert drawn["B, positive"].tolist() == [[2, 1]]
        faces = [line.get_markerfacecolor() for line in ax.get_lines()[:4]]
        assert faces[0] == faces[2] == "white"
        assert "white" not in (faces[1], faces[3])
        boundary = ax.get_lines()[4].get_ydata()
        np.testing.assert_allclose(boundary, [0.5, 0.5])
        arrow = ax.texts[0]
        assert arrow.xyann == (1.0, 0.5)
        assert arrow.xy[0] > 1.0
        assert arrow.xy[1] == pytest.approx(0.5)

    def test_a_steep_boundary_passes_through_its_line(self):
        X = np.array([[0.0, 0.0], [2.0, 1.0]])
        ax = plots.toy_domains(X, list("AB"), [0, 1], boundary=(2.0, 0.1, -1.0), legend=False)
        x, y = ax.get_lines()[-1].get_data()
        np.testing.assert_allclose(2 * np.asarray(x) + 0.1 * np.asarray(y), 1.0)


class TestBias:
    def test_bars_are_as_long_as_the_shares(self):
        table = pd.DataFrame(
            {
                "dataset": ["solo", "solo", "band", "band"],
                "group": ["jazz", "rock"] * 2,
                "share": [0.7, 0.3, 0.4, 0.6],
            }
        )
        ax = plots.group_shares(table, order=["rock", "jazz"])
        lengths = [[bar.get_width() for bar in container] for container in ax.containers]
        assert lengths == [[0.3, 0.7], [0.6, 0.4]]
        assert texts(ax) == ["rock", "jazz"]
        assert legend(ax.figure) == ["solo", "band"]
        hatches = {bar.get_hatch() for container in ax.containers for bar in container}
        assert len(hatches) == 2, "told apart in greyscale"

    def test_counts_stand_in_their_cells_and_tints_are_shares_of_the_label(self):
        table = pd.DataFrame(
            {
                "dataset": ["solo", "solo", "solo", "band"],
                "label": ["cello", "cello", "flute", "cello"],
                "group": ["jazz", "rock", "rock", "jazz"],
                "clips": [3, 1, 5, 7],
            }
        )
        figure = plots.label_by_group(table)
        solo, band = figure.axes
        assert (solo.get_title(), band.get_title()) == ("solo", "band")
        assert [text.get_text() for text in solo.texts] == ["3", "1", "0", "5"]
        assert [text.get_text() for text in band.texts] == ["7", "0", "0", "0"]
        tints = np.asarray(solo.collections[0].get_array()).ravel()
        np.testing.assert_allclose(tints, [0.75, 0.25, 0, 1])

    def test_cosines_are_absolute_and_in_the_row_of_their_embedding(self):
        table = pd.DataFrame(
            {
                "embedding": ["yamnet", "mfcc"] * 2,
                "label": "cello",
                "train_set": ["solo", "solo", "band", "band"],
                "cosine": [-0.1, 0.2, 0.03, -0.4],
            }
        )
        ax = plots.cosine_similarities(table, chance={"yamnet": 0.02, "mfcc": 0.09})
        assert texts(ax) == ["yamnet", "mfcc"]
        assert lines(ax)["solo"][:, 0].tolist() == [0.1, 0.2]
        assert lines(ax)["band"][:, 0].tolist() == [0.03, 0.4]
        np.testing.assert_array_equal(np.round(lines(ax)["band"][:, 1]), [0, 1])
        assert lines(ax)["two random directions"][:, 0].tolist() == [0.02, 0.09]

    def test_singular_values_are_drawn_in_order(self):
        ax = plots.singular_values({"yamnet": [1.5, 1.1, 0.2], "mfcc": [1.2, 0.9]})
        assert lines(ax)["yamnet"].tolist() == [[1, 1.5], [2, 1.1], [3, 0.2]]
        assert lines(ax)["mfcc"].tolist() == [[1, 1.2], [2, 0.9]]


class TestSound:
    def test_a_tone_is_bright_at_its_frequency_and_at_its_level(self):
        import librosa

        rate, hz, amplitude = 22_050, 1000.0, 0.1
        t = np.arange(2 * rate) / rate
        ax = plots.spectrogram(amplitude * np.sin(2 * np.pi * hz * t), rate, title="a tone")
        image = ax.images[0]
        pixels = np.asarray(image.get_array())
        left, right, bottom, top = image.get_extent()
        assert (left, right) == (0.0, 2.0)
        middle = pixels[:, pixels.shape[1] // 2]
        mel = bottom + (np.argmax(middle) + 0.5) / len(middle) * (top - bottom)
        assert librosa.mel_to_hz(mel) == pytest.approx(hz, rel=0.05)
        louder = plots.spectrogram(2 * amplitude * np.sin(2 * np.pi * hz * t), rate)
        difference = np.asarray(louder.images[0].get_array()) - pixels
        assert difference.max() == pytest.approx(20 * np.log10(2), abs=0.01)
        assert image.get_clim() == louder.images[0].get_clim(), "levels can be compared"

    def test_two_channels_are_refused(self):
        with pytest.raises(ArgumentError, match=r"shape \(n_samples,\)"):
            plots.spectrogram(np.zeros((100, 2)), 22_050)

    def test_frames_are_rows_and_the_mean_is_theirs(self):
        values = np.random.default_rng(2).gamma(1.0, size=(4, 30)).astype(np.float32)
        figure = plots.frames(values, hop=0.5, xlabel="chosen")
        above, below = figure.axes[:2]
        np.testing.assert_allclose(above.images[0].get_array(), values)
        np.testing.assert_allclose(below.images[0].get_array()[0], values.mean(axis=0), rtol=1e-6)
        assert above.images[0].get_clim() == below.images[0].get_clim()
        assert texts(above) == ["0 s", "0.5 s", "1 s", "1.5 s"]
        assert texts(below) == ["mean"]
        assert below.get_xlabel() == "chosen"

    def test_a_clip_without_frames_is_refused(self):
        with pytest.raises(ArgumentError, match="n_frames"):
            plots.frames(np.zeros((0, 5)))


class TestStyle:
    def test_ten_categories_are_told_apart_by_every_means(self):
        looks = list(plots.looks(range(10)).values())
        assert len({look.colour for look in looks}) == 10
        assert len({look.marker for look in looks}) == 10
        assert len({look.hatch for look in looks}) == 10
        assert len({look.line for look in looks}) == 10

    def test_skipped_looks_are_those_that_come_first(self):
        assert list(plots.looks("ab", skip=2).values()) == list(plots.looks("abcd").values())[2:]
        with pytest.raises(ArgumentError, match=r"3 categories .* at most 2"):
            plots.looks("abc", skip=8)

    def test_eleven_categories_are_refused(self):
        with pytest.raises(ArgumentError, match="11 categories"):
            plots.looks(range(11))

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

    def test_importing_the_package_loads_no_matplotlib(self):
        code = (
            "import sys; import biasmir_utils.plots;"
            "print([m for m in ('matplotlib', 'seaborn', 'librosa') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


def test_a_notebook_shows_every_figure_once(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    draw = "plots.singular_values({'a': [1.0, 0.5]});"
    cells = [nbformat.v4.new_code_cell(f"from biasmir_utils import plots\n{draw}")]
    cells += [nbformat.v4.new_code_cell(draw), nbformat.v4.new_code_cell(f"{draw}\n{draw}")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    kinds = [
        [kind for output in cell.outputs for kind in output.get("data", {}) if "image" in kind]
        for cell in notebook.cells
    ]
    assert [len(images) for images in kinds] == [1, 1, 2]


@pytest.fixture
def judged() -> pd.DataFrame:
    """A summary of a full report; every number is another one."""
    rng = np.random.default_rng(3)
    levels = ["source only", "unlabelled target", "grouped target", "labelled target"]
    rows = []
    for embedding in EMBEDDINGS:
        rows.append({"embedding": embedding, "correction": "none", "information": "source only"})
        for correction, level in zip(["random", "leace", "mlda", "lda"], levels, strict=True):
            gain, loss = rng.normal(0, 0.01, 2)
            rows.append(
                {
                    "embedding": embedding,
                    "correction": correction,
                    "information": level,
                    "gain": gain,
                    "gain_low": gain - 0.01,
                    "gain_high": gain + 0.02,
                    "loss": loss,
                    "loss_low": loss - 0.03,
                    "loss_high": loss + 0.04,
                }
            )
    return pd.DataFrame(rows)


def rows_of(figure: Figure) -> dict[str, list[tuple]]:
    """For each block the gain's and the loss's marks from the top, (name, mark, whisker)."""
    found: dict[str, list[tuple]] = {}
    axes = [ax for ax in figure.axes if ax.get_visible()]
    for gain, loss in zip(axes[::2], axes[1::2], strict=True):
        found[gain.texts[0].get_text()] = [
            tuple((c.get_label(), c[0], c[2][0] if c[2] else None) for c in pair)
            for pair in zip(gain.containers, loss.containers, strict=True)
        ]
    return found


def test_gain_and_loss_draws_points_and_intervals_where_they_are(judged):
    figure = plots.gain_and_loss(judged)
    blocks = rows_of(figure)
    assert list(blocks) == EMBEDDINGS
    for embedding, rows in blocks.items():
        own = judged[(judged["embedding"] == embedding) & judged["gain"].notna()]
        own = own.set_index("correction")
        assert len(rows) == len(own)
        for height, row in enumerate(rows):
            for (name, point, whisker), quantity in zip(row, ("gain", "loss"), strict=True):
                said = own.loc[name]
                assert point.get_xdata()[0] == said[quantity]
                assert point.get_ydata()[0] == height
                ends = np.array(whisker.get_segments()[0])
                np.testing.assert_allclose(
                    ends[:, 0], said[[f"{quantity}_low", f"{quantity}_high"]].astype(float)
                )
                assert (ends[:, 1] == height).all()
    assert legend(figure) == [
        "source only",
        "unlabelled target",
        "grouped target",
        "labelled target",
    ]


def test_corrections_stand_in_one_order_by_their_mean_gain_and_are_named(judged):
    figure = plots.gain_and_loss(judged)
    order = judged.groupby("correction")["gain"].mean().dropna()
    order = order.sort_values(ascending=False).index.tolist()
    for ax, rows in zip(figure.axes[::2], rows_of(figure).values(), strict=True):
        assert [gain[0] for gain, _ in rows] == texts(ax) == order
        assert ax.get_ylim()[0] > ax.get_ylim()[1], "the largest gain is on top"


def test_right_of_zero_is_better_on_both_sides_and_one_scale_serves_all(judged):
    figure = plots.gain_and_loss(judged)
    for gain, loss in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        at = {
            ax: ax.transData.transform([(0, 0), (0.01, 0), (-0.02, 0)])[:, 0] for ax in (gain, loss)
        }
        assert at[gain][2] < at[gain][0] < at[gain][1]
        assert at[loss][1] < at[loss][0] < at[loss][2]
        low, high = gain.get_xlim()
        assert loss.get_xlim() == (-low, -high)
        assert gain.get_xlim() == figure.axes[0].get_xlim()
        for ax, quantity in ((gain, "gain"), (loss, "loss")):
            ends = judged[[f"{quantity}_low", f"{quantity}_high"]].dropna().to_numpy()
            assert min(ax.get_xlim()) < ends.min() < ends.max() < max(ax.get_xlim())


@pytest.fixture
def crowded() -> pd.DataFrame:
    """Twelve corrections of which all but two change next to nothing, as is usual."""
    names = ["lda", "mlda", "center", "meanproj", "leace", "leace:groups=group"]
    names += ["coral", "gaussian_ot", "inlp", "random"]
    names += ["random:random_state=1", "leace:given=label:kernel=fastfood"]
    rows = []
    for embedding in EMBEDDINGS:
        for number, name in enumerate(names):
            change = {"coral": -0.13, "inlp": 0.03}.get(name, 1e-4 * (number % 3))
            rows.append((embedding, name, "labelled target", change, -change))
    table = pd.DataFrame(rows, columns=["embedding", "correction", "information", "gain", "loss"])
    table["information"] = table["information"].where(
        table["correction"] != "random", "source only"
    )
    for quantity in ("gain", "loss"):
        table[f"{quantity}_low"] = table[quantity] - 0.004
        table[f"{quantity}_high"] = table[quantity] + 0.005
    return table


def boxes(figure: Figure, ax) -> dict[str, list]:
    """Where things of one Axes are on the page, in pixels."""
    from matplotlib.transforms import Bbox

    def extent(artist):
        return artist.get_window_extent(figure.canvas.get_renderer())

    marks = []
    for mark, _, whiskers in ax.containers:
        # The extent of a line leaves out the size of its marker.
        radius = mark.get_markersize() / 2 * figure.dpi / 72
        centre = np.column_stack(mark.get_data())
        points = [centre, *(segment for w in whiskers for segment in w.get_segments())]
        points = ax.transData.transform(np.concatenate(points).astype(float))
        marks.append(Bbox([points.min(axis=0) - radius, points.max(axis=0) + radius]))
    labels = [label for label in ax.get_yticklabels() if label.get_visible()]
    return {
        "marks": marks,
        "names": [extent(label) for label in labels if label.get_text()] if ax.texts else [],
        "ticks": [extent(label) for label in ax.get_xticklabels()],
    }


@pytest.mark.parametrize(
    ("kind", "columns"),
    [("as usual", 1), ("as usual", 2), ("all nothing", 1), ("modes and doses", 1), ("pairs", 2)],
)
def test_no_correction_hides_another_however_little_they_change(crowded, kind, columns):
    if kind == "all nothing":
        numbers = crowded.select_dtypes("number").columns
        crowded[numbers] = 0.0
    elif kind == "modes and doses":
        one = crowded[crowded["embedding"] == "musicnn"]
        both = [one.assign(mode="global", alpha=1.0), one.assign(mode="unlabelled", alpha=0.25)]
        crowded = pd.concat(both, ignore_index=True)
    elif kind == "pairs":
        pairs = ["bandfont_bandchain/solofont_bandchain", "bandfont_bandchain/bandfont_solochain"]
        crowded = pd.concat([crowded.assign(pair=pair) for pair in pairs], ignore_index=True)
    figure = plots.gain_and_loss(crowded, columns=columns)
    figure.draw_without_rendering()
    axes = [ax for ax in figure.axes if ax.get_visible()]
    assert sum(len(ax.containers) for ax in axes) == 2 * len(crowded)
    for ax in axes:
        for what, found in boxes(figure, ax).items():
            for number, box in enumerate(found):
                for other in found[:number]:
                    assert not box.overlaps(other), f"two {what} lie on one another"
            assert what != "ticks" or len(found) >= (3 if kind == "all nothing" else 5)
    for gain, loss in zip(axes[::2], axes[1::2], strict=True):
        for ax in (gain, loss):
            assert ax.get_xscale() == ("linear" if kind == "all nothing" else "asinh")
        left, right = (boxes(figure, ax)["ticks"] for ax in (gain, loss))
        assert not any(box.overlaps(other) for box in left for other in right)
    page = figure.bbox
    outside = [*figure.legends, *(part._supxlabel for part in figure.subfigs)]
    outside += [text for ax in axes for text in [ax.title, *ax.texts, *ax.get_yticklabels()]]
    for artist in outside:
        box = artist.get_window_extent(figure.canvas.get_renderer())
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0 <= box.y1 <= page.y1
    for gain, loss in zip(axes[::2], axes[1::2], strict=True):
        title = gain.texts[0].get_window_extent()
        for ax in (gain, loss):
            assert title.y0 >= ax.bbox.y1 + ax.title.get_fontsize() * figure.dpi / 72
        assert not any(title.overlaps(ax.bbox) for ax in axes)


def scale_of(figure: Figure) -> tuple[set[str], bool]:
    """Return the scales of all Axes, and whether the figure says that they are stretched."""
    said = figure.subfigs[0]._supxlabel.get_text()
    return {ax.get_xscale() for ax in figure.axes}, "both scales stretched around 0" in said


def test_intervals_can_be_compared_by_their_lengths(judged):
    """Wide and narrow, near and far: as long on the page as the numbers say."""
    judged.loc[judged["correction"] == "leace", ["gain", "gain_low", "gain_high"]] = 0.2, 0.15, 0.25
    judged.loc[judged["correction"] == "lda", ["loss", "loss_low", "loss_high"]] = 0.2, 0.15, 0.25
    figure = plots.gain_and_loss(judged, embeddings=["musicnn"])
    figure.draw_without_rendering()
    assert scale_of(figure) == ({"linear"}, False)
    per_unit = []
    for ax in figure.axes:
        for _, _, (whisker,) in ax.containers:
            ends = whisker.get_segments()[0]
            drawn = ax.transData.transform(ends)[:, 0]
            per_unit.append(abs(np.diff(drawn)[0]) / np.diff(ends[:, 0])[0])
    assert len(per_unit) == 8
    np.testing.assert_allclose(per_unit, per_unit[0], rtol=1e-6)


@pytest.mark.parametrize(("far", "stretched"), [(0.119, False), (0.121, True), (-0.121, True)])
def test_scale_is_stretched_only_where_changes_span_decades(judged, far, stretched):
    """The furthest bound is twelve times as far out as the usual row reaches."""
    changes = judged["gain"].notna()
    for quantity in ("gain", "loss"):
        judged.loc[changes, [quantity, f"{quantity}_low", f"{quantity}_high"]] = 0.008, 0.006, 0.01
    one = (judged["correction"] == "lda") & (judged["embedding"] == "yamnet")
    ends = sorted([far, far / 2])
    judged.loc[one, ["gain", "gain_low", "gain_high"]] = [np.mean(ends), *ends]
    # What changes nothing is at 0 on any scale, so it does not count.
    nothing = judged["correction"] == "random"
    judged.loc[nothing, judged.select_dtypes("number").columns] = 0.0
    figure = plots.gain_and_loss(judged)
    assert scale_of(figure) == ({"asinh" if stretched else "linear"}, stretched)


@pytest.mark.parametrize("largest", [3e-4, 0.07, 4.0])
@pytest.mark.parametrize("lowest", [-0.6, 0.0])
@pytest.mark.parametrize("spread", ["even", "decades"])
def test_axes_have_round_numbers_that_do_not_touch(judged, largest, lowest, spread):
    table = judged[judged["gain"].notna()].reset_index(drop=True)
    usual = largest * (1 / 3 if spread == "even" else 1 / 200)
    for quantity in ("gain", "loss"):
        # A gain is better when it is larger, a loss when it is smaller.
        better = 1 if quantity == "gain" else -1
        table[quantity] = usual / 2 * better
        table[f"{quantity}_low"] = table[quantity] - usual / 2
        table[f"{quantity}_high"] = table[quantity] + usual / 2
    table.loc[0, ["gain", "gain_low", "gain_high"]] = np.array([0.8, 0.6, 1]) * largest
    table.loc[1, ["loss", "loss_low", "loss_high"]] = np.array([0.8, 0.6, 1]) * -lowest * largest
    figure = plots.gain_and_loss(table, embeddings=EMBEDDINGS[:1])
    figure.draw_without_rendering()
    stretched = spread == "decades"
    assert scale_of(figure) == ({"asinh" if stretched else "linear"}, stretched)
    gain, loss = figure.axes
    ticks = gain.get_xticks()
    assert len(ticks) >= (5 if stretched else 3)
    assert 0 in ticks
    assert list(loss.get_xticks()) == list(-ticks)
    for ax in (gain, loss):
        assert ax.get_xticks().min() >= min(ax.get_xlim())
        assert ax.get_xticks().max() <= max(ax.get_xlim())
        said = [label.get_text() for label in ax.get_xticklabels()]
        assert [float(text.replace("\N{MINUS SIGN}", "-")) for text in said] == pytest.approx(
            ax.get_xticks()
        )
        assert "\N{MINUS SIGN}0" not in said
    if not stretched:
        np.testing.assert_allclose(np.diff(ticks), np.diff(ticks)[0])
    found = [box for ax in (gain, loss) for box in boxes(figure, ax)["ticks"]]
    for number, box in enumerate(found):
        assert not any(box.overlaps(other) for other in found[:number])
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert not box.overlaps(figure.subfigs[0]._supxlabel.get_window_extent())


def test_what_was_seen_is_told_apart_without_colour(judged):
    from matplotlib.colors import to_rgb

    figure = plots.gain_and_loss(judged, embeddings=["musicnn"])
    for ax in figure.axes:
        points = {c.get_label(): c[0] for c in ax.containers}
        points = [points[name] for name in ("random", "leace", "mlda", "lda")]
        assert len({point.get_marker() for point in points}) == 4
        lightness = [np.dot(to_rgb(p.get_markerfacecolor()), [0.299, 0.587, 0.114]) for p in points]
        assert (np.diff(lightness) < -0.1).all()


def test_gain_and_loss_is_legible_on_a_phone(judged):
    figure = plots.gain_and_loss(judged)
    figure.draw_without_rendering()
    said = [*figure.legends[0].get_texts(), figure.subfigs[0]._supxlabel]
    for ax in figure.axes:
        said += [ax.title, *ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()]
    # At a phone's 350 px for the figure's width, in pixels of the screen.
    assert min(text.get_fontsize() for text in said) / 72 * 350 / figure.get_figwidth() > 10


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
    table = judged[judged["correction"] == "lda"]
    figure = plots.gain_and_loss(
        pd.concat([table.assign(mode=mode) for mode in modes]), embeddings=["musicnn"]
    )
    assert [name.replace("\n", " ") for name in texts(figure.axes[0])] == names


def test_gain_and_loss_gives_each_pair_of_datasets_a_block(judged):
    pairs = [judged.assign(pair="solo/band"), judged.assign(pair="solo/studio")]
    assert list(rows_of(plots.gain_and_loss(pd.concat(pairs)))) == [
        f"{embedding}: {pair}" for embedding in EMBEDDINGS for pair in ("solo/band", "solo/studio")
    ]


def test_gain_and_loss_refuses_what_it_cannot_draw(judged):
    with pytest.raises(ArgumentError, match="no correction with a gain"):
        plots.gain_and_loss(judged[judged["correction"] == "none"])
    with pytest.raises(ArgumentError, match="'information' has 'everything'; expected source only"):
        plots.gain_and_loss(judged.assign(information="everything"))
