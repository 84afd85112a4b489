"""What the chapters display: sentences, tables, players."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, strategies as st

from biasmir_utils import notebook
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError, AudioError
from biasmir_utils.experiments import nearest_in_other_tracks


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    objects: list = []
    monkeypatch.setattr("IPython.display.display", lambda one, **_: objects.append(one))
    return objects


def test_what_a_chapter_says_is_recorded_and_what_does_not_hold_is_named(shown: list):
    clips: list[str] = []
    values = {"size": np.int64(3), "deepest": "cello", "first": lambda: clips[0]}
    notebook.check_text(values, {"It falls": np.bool_(True)})
    (recorded,) = shown.pop().values()
    assert recorded == {"values": {"size": 3, "deepest": "cello"}, "claims": {"It falls": True}}
    assert type(recorded["values"]["size"]) is int
    assert type(recorded["claims"]["It falls"]) is bool
    wrong = {"It falls": True, "It rises": 1 > 2, "The first is a cello": lambda: clips[0] == "c"}
    notebook.check_text(claims=wrong)
    said = shown.pop()["text/markdown"]
    assert "- It rises\n- The first is a cello\n" in said
    assert "- It falls" not in said
    notebook.check_text(values=lambda: {"first": clips[0]})
    assert "make no sense, with these parameters" in shown.pop()["text/markdown"]
    with pytest.raises(ArgumentError, match=r"values\['two'\] must be a number or a text"):
        notebook.check_text({"two": [1, 2]})


@given(st.floats(-1e6, 1e6), st.integers(0, 4), st.booleans())
def test_numbers_are_rounded_and_never_a_negative_zero(value: float, decimals: int, sign: bool):
    text, _, _ = notebook.with_interval(value, value, value, decimals, sign).partition(" ")
    plain = text.replace("\N{MINUS SIGN}", "-").replace(",", "")
    assert float(plain) == pytest.approx(value, abs=0.51 * 10.0**-decimals)
    assert "-" not in text
    if float(plain) == 0:
        assert text[0] == "0"
    assert (text[0] == "+") == (sign and float(plain) > 0)


def test_intervals_read_like_text():
    assert notebook.with_interval(0.8123, 0.79, 0.8333) == "0.812 [0.790, 0.833]"
    shifted = notebook.with_interval(-0.0004, -0.002, 0.001, sign=True)
    assert shifted == "0.000 [\N{MINUS SIGN}0.002, +0.001]"
    assert notebook.with_interval(10314.2, 1, 2, 0) == "10,314 [1, 2]"


def test_a_table_has_a_caption_scoped_headings_and_numbers_to_the_right(shown: list):
    table = pd.DataFrame(
        {
            "dataset": ["solo", "<b>"],
            "ROC-AUC": [0.91234, np.nan],
            "change": [0.0123, -0.01],
            "clips": [1800, 60],
        },
        index=pd.Index(["cello", "flute"], name="instrument"),
    )
    notebook.show_table(table, "Scores", decimals={"ROC-AUC": 2}, sign=["change"])
    soup = BeautifulSoup(shown[0].data, "html.parser")
    assert soup.caption.text == "Scores"
    assert [th.text for th in soup.thead.find_all("th", scope="col")] == [
        "instrument", "dataset", "ROC-AUC", "change", "clips",
    ]  # fmt: skip
    rows = [[cell.text for cell in row.find_all(["th", "td"])] for row in soup.tbody("tr")]
    assert rows == [
        ["cello", "solo", "0.91", "+0.012", "1,800"],
        ["flute", "<b>", "\N{EN DASH}", "\N{MINUS SIGN}0.010", "60"],
    ]
    styles = [cell["style"] for cell in soup.tbody.tr("td")]
    assert [style.split(";")[0] for style in styles] == [
        "text-align: left", "text-align: right", "text-align: right", "text-align: right",
    ]  # fmt: skip


def test_intervals_stay_in_one_line_and_sentences_do_not(shown: list):
    table = pd.DataFrame(
        {
            "gain": [
                notebook.with_interval(0.01, -0.02, 0.03, sign=True),
                "\N{MINUS SIGN}50 % [\N{MINUS SIGN}100 %, 0 %]",
            ],
            "name": ["oracle:mean", "0.5 [of what?"],
            "what": ["short", "a sentence that is much too long for one line of a telephone"],
        }
    )
    notebook.show_table(table, "Caption.")
    soup = BeautifulSoup(shown[0].data, "html.parser")
    styles = {
        head.get_text(): (head["style"], cell["style"])
        for head, cell in zip(soup.select("thead th")[1:], soup.select("td"), strict=False)
    }
    assert styles == {
        "gain": ("text-align: right", "text-align: right; white-space: nowrap"),
        "name": ("text-align: left", "text-align: left; white-space: nowrap"),
        "what": ("text-align: left",) * 2,
    }


@pytest.mark.parametrize(("columns", "stacked"), [(1, False), (4, True)])
def test_intervals_stand_under_their_values_where_a_table_would_be_too_wide(
    shown: list, columns: int, stacked: bool
):
    texts = [notebook.with_interval(0.012, -0.003, 0.031, sign=True), "0.68", "\N{EN DASH}"]
    table = pd.DataFrame(
        {f"balanced accuracy, {place}": texts for place in range(columns)},
        index=pd.Index(["lda", "none", "leace"], name="correction"),
    )
    notebook.show_table(table, "With 95 % intervals.")
    soup = BeautifulSoup(shown[0].data, "html.parser")
    assert soup.caption.text == "With 95\N{NO-BREAK SPACE}% intervals."
    cells = soup.select("tbody td")
    assert [cell.get_text() for cell in cells[::columns]] == texts
    # A number without an interval stands where the others do.
    assert {cell["style"] for cell in cells} == {"text-align: right; white-space: nowrap"}
    assert [cell.small is not None for cell in cells[::columns]] == [stacked, False, False]
    if stacked:
        assert cells[0].small.get_text() == texts[0].split(" ", 1)[1]
        assert cells[0].br is not None


def test_players_hold_the_file_as_it_is_under_a_label(shown: list, tmp_path: Path):
    sound = tmp_path / "a.mp3"
    sound.write_bytes(b"not really sound \xff")
    notebook.players({'solo: "cello" & more': sound})
    soup = BeautifulSoup(shown[0].data, "html.parser")
    assert soup.figcaption.text == 'solo: "cello" & more'
    assert soup.audio["aria-label"] == soup.figcaption.text
    assert soup.audio.has_attr("controls")
    assert not soup.audio.has_attr("autoplay")
    head, data = soup.audio["src"].split(",")
    assert head == "data:audio/mpeg;base64"
    assert base64.b64decode(data) == sound.read_bytes()
    with pytest.raises(ArgumentError, match=r"browsers play \.mp3"):
        notebook.players({"a": tmp_path / "a.aiff"})
    with pytest.raises(AudioError, match="no such sound file"):
        notebook.players({"a": tmp_path / "b.mp3"})


class TestExamples:
    @pytest.fixture
    def corpus(self, tiny_corpus: Path) -> Corpus:
        table = pd.read_parquet(tiny_corpus / "clips.parquet")
        heard = table["clip"].isin(["a0003", "a0004", "a0005", "a0006", "b0001", "b0002", "b0003"])
        table["audio"] = ("audio/" + table["clip"] + ".mp3").where(heard)
        table.loc[table["clip"] == "a0003", ["piano", "voice"]] = [1.0, 1.0]
        table.loc[table["clip"] == "a0004", ["piano", "voice"]] = [0.9, 0.0]
        table.loc[table["clip"] == "a0005", ["piano", "voice"]] = [0.0, 1.0]
        table.loc[table["clip"] == "a0006", ["piano", "voice"]] = [0.5, np.nan]
        table.loc[table["clip"] == "a0007", ["piano", "voice", "group"]] = [0.0, np.nan, None]
        table.loc[table["clip"].isin(["a0003", "a0004"]), "group"] = ["folk", None]
        table.loc[table["clip"].isin(["b0001", "b0002", "b0003"]), "piano"] = 1.0
        (tiny_corpus / "clips.parquet").unlink()
        table.to_parquet(tiny_corpus / "clips.parquet")
        return Corpus.load(tiny_corpus)

    def test_clips_with_fewest_other_labels_come_first(self, corpus: Corpus):
        found = notebook.examples(corpus, "piano", each=9)
        assert corpus.clips.loc[found, "dataset"].tolist() == ["alpha", "beta"] * 3
        assert corpus.clips.loc[found[::2], "clip"].tolist() == ["a0004", "a0006", "a0003"]

    def test_a_clip_is_described_by_dataset_labels_and_group(self, corpus: Corpus):
        texts = [notebook.describe(corpus, row) for row in (3, 4, 7)]
        assert texts == ["alpha: piano and voice, folk", "alpha: piano", "alpha: no label"]

    def test_as_many_of_each_dataset_are_heard_or_it_is_said(self, shown: list, repository: Path):
        demo = Corpus.load(repository / "data" / "demo")
        rows = notebook.examples(demo, "cello", each=2)
        assert demo.clips.loc[rows, "dataset"].tolist() == [*demo.datasets] * 2
        assert (demo.clips.loc[rows, "cello"] >= 0.5).all()
        notebook.hear(demo, rows[:2], ["First."])
        captions = [one.text for one in BeautifulSoup(shown[0].data, "html.parser")("figcaption")]
        first, second = (notebook.describe(demo, row) for row in rows[:2])
        assert captions == [f"First. {first}", second[0].upper() + second[1:]]
        notebook.hear(demo, notebook.examples(demo, "cello", each=0))
        assert "no clip" in shown[1].data
        notebook.hear(demo, [rows[0], rows[0]])
        assert shown[2].data.count("<audio") == 2, "clips that are described alike"


class TestNeighbours:
    def test_they_are_those_of_the_full_sort_without_the_own_track(self):
        rng = np.random.default_rng(3)
        X = rng.normal(size=(700, 5)) * [1, 10, 1, 1, 100]
        tracks = np.repeat(np.arange(350), 2).astype(str)
        found = nearest_in_other_tracks(X, tracks, k=4)
        Z = (X - X.mean(axis=0)) / X.std(axis=0)
        Z /= np.linalg.norm(Z, axis=1, keepdims=True)
        for row in (0, 1, 511, 512, 699):
            order = [i for i in np.argsort(-(Z @ Z[row])) if tracks[i] != tracks[row]]
            assert found[row].tolist() == order[:4]

    def test_too_many_neighbours_are_refused(self):
        with pytest.raises(ArgumentError, match="expected 1 to 2 neighbours"):
            nearest_in_other_tracks(np.eye(4), [0, 0, 1, 2], k=3)
