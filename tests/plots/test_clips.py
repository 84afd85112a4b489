"""Pictures of clips: points, toys, spectrograms and frames show the arrays they are given."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import legend, lines
from matplotlib.colors import to_hex

from biasmir_utils import plots

WORDS = ("negative", "positive")


class TestPoints:
    def test_each_category_has_its_points_colour_and_marker(self):
        points = np.arange(12.0).reshape(6, 2)
        category = ["a", "b", "a", "c", "b", "a"]
        ax = plots.projection(points, category, order=["b", "a"])
        drawn = {c.get_label(): c for c in ax.collections}
        assert list(drawn) == ["b", "a"], "categories that are not in the order are left out"
        for name, collection in drawn.items():
            expected = points[[value == name for value in category]]
            np.testing.assert_array_equal(collection.get_offsets(), expected)
        faces = {to_hex(c.get_facecolor()[0]) for c in drawn.values()}
        shapes = {c.get_paths()[0].vertices.tobytes() for c in drawn.values()}
        assert len(faces) == len(shapes) == 2
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("first component", "second component")
        assert legend(ax.figure) == ["b", "a"]

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


class TestToy:
    def test_domains_classes_direction_and_boundary_above_scores(self):
        X = np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]])
        steps = {"before": (X, (2, 0), (0.0, 1.0, -0.5)), "after": (X, None, (1.0, 0.0, 0.0))}
        figure = plots.toy_correction(list("AABB"), [0, 1, 0, 1], steps)
        above, _, scores, _ = figure.axes
        drawn = lines(above)
        assert list(drawn) == [f"{name}, {word}" for name in "AB" for word in WORDS]
        assert drawn["A, negative"].tolist() == [[0, 0]]
        assert drawn["B, positive"].tolist() == [[2, 1]]
        faces = [line.get_markerfacecolor() for line in above.get_lines()[:4]]
        assert faces[0] == faces[2] == "white"
        assert "white" not in (faces[1], faces[3])
        boundary = above.get_lines()[4]
        assert (boundary.get_xy1()[1], boundary.get_xy2()[1]) == (0.5, 0.5)
        (arrow,) = above.texts
        assert arrow.xyann == (1.0, 0.5)
        assert arrow.xy[0] > 1.0
        assert arrow.xy[1] == pytest.approx(0.5)
        assert above.get_title() == "before"
        assert scores.get_xlabel() == "score of B's clips"

    def test_scores_of_the_second_domain_alone_are_counted(self):
        X = [[0.0, 0.0], [5.0, 0.0], [1.0, 0.0], [3.0, 0.0]]
        steps = {"before": (X, (1, 0), (1.0, 0.0, -2.0)), "after": (X, None, (1.0, 0.0, 0.0))}
        figure = plots.toy_correction(list("AABB"), [0, 1, 0, 1], steps)
        for ax, ends in zip(figure.axes[2:], ((-1, 1), (1, 3)), strict=True):
            points = np.concatenate([patch.get_xy()[:, 0] for patch in ax.patches])
            assert (points.min(), points.max()) == pytest.approx(ends)

    def test_a_steep_boundary_passes_through_its_line(self):
        X = np.array([[0.0, 0.0], [2.0, 1.0]])
        figure = plots.toy_correction(list("AB"), [0, 1], {"": (X, None, (2.0, 0.1, -1.0))})
        boundary = figure.axes[0].get_lines()[-1]
        for x, y in (boundary.get_xy1(), boundary.get_xy2()):
            assert 2 * x + 0.1 * y == pytest.approx(1)


class TestDomainMeans:
    @pytest.fixture
    def toy(self):
        rng = np.random.default_rng(0)
        domain = np.repeat(["A", "B"], [30, 50])
        return rng.normal(size=(80, 2)) + np.outer(domain == "B", [4, 1]), domain

    def test_points_means_and_the_step_between_them(self, toy):
        X, domain = toy
        figure = plots.domain_means({"before": X, "after": X / 2}, domain)
        for ax, points in zip(figure.axes, (X, X / 2), strict=True):
            (step,), drawn = ax.collections, lines(ax)
            assert list(drawn) == ["A", "B", "mean of A", "mean of B"]
            for name in "AB":
                own = points[domain == name]
                np.testing.assert_allclose(drawn[name], own)
                np.testing.assert_allclose(drawn[f"mean of {name}"][0], own.mean(axis=0))
            np.testing.assert_allclose(step.XY[0], drawn["mean of A"][0])
            tip = step.XY[0] + [step.U[0], step.V[0]]
            np.testing.assert_allclose(tip, drawn["mean of B"][0])
            assert (ax.get_xlim()[0] < points[:, 0]).all()
            assert (ax.get_ylim()[1] > points[:, 1]).all()
            assert ax.get_aspect() == 1
        assert len({ax.get_xlim() for ax in figure.axes}) == 1
        assert [ax.get_title() for ax in figure.axes] == ["before", "after"]

    def test_arrows_have_the_directions_and_one_length(self, toy):
        X, domain = toy
        directions = {"w": np.array([0.0, 3.0]), "d": np.array([8.0, -6.0])}
        ax = plots.domain_means({"": X}, domain, arrows=directions).axes[0]
        drawn = [text for text in ax.texts if text.arrow_patch is not None]
        labels = [text.get_text() for text in ax.texts if text.arrow_patch is None]
        assert labels == ["w", "d"]
        steps = [np.subtract(text.xy, text.xyann) for text in drawn]
        for step, direction in zip(steps, directions.values(), strict=True):
            np.testing.assert_allclose(
                step / np.linalg.norm(step), direction / np.linalg.norm(direction)
            )
        np.testing.assert_allclose(*[np.linalg.norm(step) for step in steps])
        np.testing.assert_allclose(drawn[0].xyann, X.mean(axis=0))


class TestSound:
    def test_a_tone_is_bright_at_its_frequency_and_at_its_level(self):
        import librosa

        rate, hz, amplitude = 22_050, 1000.0, 0.1
        t = np.arange(2 * rate) / rate
        tone = amplitude * np.sin(2 * np.pi * hz * t)
        sounds = {"a tone": tone, "louder": 2 * tone, "half": tone[:rate]}
        figure = plots.spectrograms({name: (sound, rate) for name, sound in sounds.items()})
        assert [ax.get_title() for ax in figure.axes] == list(sounds)
        image, louder, half = (ax.images[0] for ax in figure.axes)
        assert half.get_extent()[1] == 1
        pixels = np.asarray(image.get_array())
        left, right, bottom, top = image.get_extent()
        assert (left, right) == (0.0, 2.0)
        middle = pixels[:, pixels.shape[1] // 2]
        mel = bottom + (np.argmax(middle) + 0.5) / len(middle) * (top - bottom)
        assert librosa.mel_to_hz(mel) == pytest.approx(hz, rel=0.05)
        difference = np.asarray(louder.get_array()) - pixels
        assert difference.max() == pytest.approx(20 * np.log10(2), abs=0.01)
        assert image.get_clim() == louder.get_clim(), "levels can be compared"
