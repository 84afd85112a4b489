"""What the data card of `data/recordings` promises, measured anew."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from running import absent
from test_card_promises import card, card_table

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.embeddings import load
from biasmir_utils.experiments import evaluate, probe
from recordings import (
    CC0,
    COLLECTIONS,
    LABELS,
    SHORTEST,
    TEST_CLIPS,
    choose_examples,
    clip_table,
    fill_test,
    inside_freesound,
    lengthened,
    licence_table,
    midi_number,
    prepare,
    single_tracks,
)

EMBEDDINGS = ("yamnet", "musicnn", "msd_vgg", "mfcc")
PAIRS = [(train, test) for train in ("freesound", "studio") for test in ("freesound", "studio")]
ALONE = {"clarinet", "double_bass", "saxophone"}


@pytest.fixture(scope="module")
def corpus(repository) -> Corpus:
    return Corpus.load(repository / "data" / "recordings")


@pytest.fixture(scope="module")
def sounds(shared):
    folder = shared / "real"
    if not (folder / "clips.csv").is_file():
        absent(f"no collected sounds at {folder}")
    return folder


@pytest.fixture(scope="module")
def results(corpus) -> pd.DataFrame:
    return evaluate(corpus, EMBEDDINGS, jobs=1).results


# What is there


def test_every_clip_has_every_embedding_a_source_and_a_licence(corpus):
    clips = corpus.clips
    assert clips["dataset"].value_counts().to_dict() == {"studio": 319, "freesound": 210}
    assert corpus.labels == list(LABELS)
    assert corpus.embedding_names == list(EMBEDDINGS)
    assert corpus.complete(EMBEDDINGS).all()
    whole = ["track", "instrument", "collection", "licence", "source", "duration"]
    assert clips[[*whole, "source_seconds"]].notna().all(axis=None)
    assert clips["source"].str.startswith("https://").all()
    assert set(clips["collection"]) == set(COLLECTIONS)
    assert clips["duration"].between(1, 6.01).all()
    assert (clips["pitch"].notna() == (clips["dataset"] == "studio")).all()
    assert not clips["clip"].duplicated().any()


def test_only_cc0_sounds_are_passed_on_and_all_is_small(corpus):
    heard = corpus.clips[corpus.clips["audio"].notna()]
    assert set(heard["licence"]) == {CC0}
    files = [path for path in corpus.path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 6e6
    known = {"README.md", *corpus.data_sums(), *heard["audio"]}
    assert {path.relative_to(corpus.path).as_posix() for path in files} == known
    assert set(heard["instrument"]) >= set(LABELS)
    assert heard.index.tolist() == choose_examples(corpus.clips)
    for row in heard.index:
        wave, rate = soundfile.read(corpus.audio_path(row))
        assert len(wave) >= SHORTEST * rate - 1
        level, peak = 20 * np.log10(np.sqrt(np.mean(wave**2))), np.abs(wave).max()
        assert level < -19
        assert level > -21 or 0.8 < peak < 1  # turned up as far as the peak allows


def test_tracks_are_on_one_side_but_for_sessions_that_are_alone(corpus):
    clips = corpus.clips
    sides = clips.groupby(["dataset", "track"])["split"].nunique()
    both = sides[sides > 1]
    assert set(both.index.get_level_values("dataset")) == {"studio"}
    known = clips["track"].isin(both.index.get_level_values("track"))
    assert set(clips.loc[known, "instrument"]) == ALONE
    told = corpus.description.provenance["no score inside the dataset, for there is one track"]
    assert told == single_tracks(clips)
    assert set(told) == {"studio"}
    assert set(told["studio"]) == ALONE
    positives = (clips[list(LABELS)] == 1).groupby([clips["dataset"], clips["split"]]).sum()
    assert positives.min().min() >= 5
    # No recogniser is tested on negatives of a session that it has learned from.
    tested = clips[known & (clips["split"] == "test")]
    assert (tested[list(LABELS)].notna().sum(axis=1) == 1).all()


# What the card says


def test_card_tells_every_clip(corpus):
    assert licence_table(corpus.clips) in card(corpus)


def test_card_tells_sums_commands_and_models(corpus):
    text, provenance = card(corpus), corpus.description.provenance
    made = {name: cells[0] for name, cells in card_table(corpus, "made").items()}
    assert made == corpus.data_sums()
    assert provenance["sounds"]["sha256 of the list of sums"] in text
    for command in (provenance["command"], provenance["bundle"]["command"]):
        words = command.replace("OUT", "").split()
        assert any(set(words[:3]) <= set(line.split()) for line in text.splitlines())
    for name in EMBEDDINGS:
        for value in corpus.model_record(name)["sums"].values():
            assert value in text


def test_card_tells_the_measured_numbers(corpus, results):
    rows = card_table(corpus, "embedding")
    assert list(rows) == list(EMBEDDINGS)
    means = results.groupby(["embedding", "train_set", "test_set"])["roc_auc"].mean()
    separability = probe(corpus, EMBEDDINGS, n_permutations=0).set_index("embedding")["roc_auc"]
    for name, cells in rows.items():
        expected = [*(means[name, train, test] for train, test in PAIRS), separability[name]]
        # Another processor or library may move the last digit.
        assert [float(cell) for cell in cells] == pytest.approx(expected, abs=0.003), name


def test_card_tells_each_label_and_gap(corpus, results):
    yamnet = results[results["embedding"] == "yamnet"]
    values = yamnet.set_index(["label", "train_set", "test_set"])["roc_auc"]
    gaps = values[values.isna()].index.tolist()
    assert gaps == [(label, "studio", "studio") for label in LABELS if label in ALONE]
    for label, cells in card_table(corpus, "label").items():
        for cell, pair in zip(cells, PAIRS, strict=True):
            if np.isnan(values[(label, *pair)]):
                assert cell == "one session"
            else:
                assert float(cell) == pytest.approx(values[(label, *pair)], abs=0.005)


def test_card_tells_the_lesson_of_tracks(corpus):
    rows = card_table(corpus, "split by")
    for told, unit in (("clip", "clip"), ("upload", "track")):
        *draws, mean = map(float, rows[told])
        assert draws[0] == pytest.approx(inside_freesound(corpus, "yamnet", unit, 0), abs=0.003)
        assert mean == pytest.approx(np.mean(draws), abs=0.001)


# The commands


def test_evaluate_probe_and_a_full_report_run_on_it(corpus, tmp_path):
    out, run = tmp_path / "r.csv", CliRunner()
    asked = ["evaluate", str(corpus.path), "--embedding", "mfcc", "--labels", "saxophone", "flute"]
    asked += ["--correction", "center", "--report", "full", "--jobs", "1", "--out", str(out)]
    told = run.invoke(main, asked)
    assert told.exit_code == 0, told.output
    assert "saxophone on studio/studio: no score" in told.output
    table = pd.read_csv(out)
    assert table.loc[table["roc_auc"].isna(), "label"].unique().tolist() == ["saxophone"]
    skipped = json.loads(out.with_suffix(".json").read_text())["skipped"]
    assert [entry["label"] for entry in skipped] == ["saxophone"]
    assert "saxophone on studio/studio" in next(tmp_path.glob("*.md")).read_text()
    asked = ["probe", str(corpus.path), "--embedding", "mfcc", "--permutations", "0"]
    assert run.invoke(main, asked).exit_code == 0


# How it was made


def test_the_program_still_makes_this_table(corpus, sounds):
    made = clip_table(sounds).drop(columns="audio")
    pd.testing.assert_frame_equal(corpus.clips[made.columns], made, check_dtype=False)


def test_prepared_anew_a_few_clips_give_the_bundled_numbers(corpus, sounds, tmp_path):
    listed = pd.read_csv(sounds / "clips.csv", dtype=str)
    few = listed.groupby(["dataset", "instrument"]).head(2)
    for name in few["audio"]:
        (tmp_path / "sounds" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sounds" / name).symlink_to(sounds / name)
    few.to_csv(tmp_path / "sounds" / "clips.csv", index=False)
    anew = prepare(tmp_path / "sounds", tmp_path / "anew")
    mfcc, bundled = load("mfcc"), corpus.embedding("mfcc")
    row_of = dict(zip(corpus.clips["clip"], corpus.clips.index, strict=True))
    for row, clip in enumerate(anew.clips["clip"]):
        wave, rate = soundfile.read(anew.audio_path(row), dtype="float32")
        expected = bundled[row_of[clip]]
        assert mfcc.embed(wave, rate).mean(axis=0) == pytest.approx(expected, rel=2e-3, abs=2e-2)


def test_short_clips_are_repeated():
    assert lengthened(np.arange(2), 1).tolist() == [0, 1, 0]
    assert lengthened(np.arange(5), 1).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("clip", "track", "number"),
    [
        ("vsco2-cello-susvib-f-c1", "vsco2-cello-susvib-f", 36),  # its lowest string
        ("vsco2-violin-arcvib-g3", "vsco2-violin-arcvib", 55),
        ("vsco2-contrabass-susvib-fsharp0", "vsco2-contrabass-susvib", 30),
        ("iowa-flute-vib-ff-bb4-stereo", "iowa-flute", 70),
        ("cello-195275", "cello-01", np.nan),
    ],
)
def test_pitch_is_what_the_name_tells(clip, track, number):
    assert midi_number(clip, track) == pytest.approx(number, nan_ok=True)


def test_a_test_part_is_filled_in_order():
    sizes = pd.Series({"a": 10, "b": 9, "c": 5, "d": 3, "e": 1, "f": 1})
    assert fill_test(sizes) == {"b", "d"}
    assert fill_test(sizes.iloc[::-1]) == {"f", "e", "d"}
    assert sizes[list(fill_test(sizes))].sum() <= TEST_CLIPS
