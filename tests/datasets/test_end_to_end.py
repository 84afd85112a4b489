"""From the hosts to the comparison, command by command, on small archives in the real layout.

A server stands in for the real hosts. The archives hold sound that the project renders: `solo`
clips as IRMAS, `band` clips as OpenMIC-2018. No command is left out, and each runs on what the one
before it left.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from faulty_server import FaultyServer
from running import run_command
from stand_in import Clip, PaperFiles, serve

from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets import INSTRUMENTS
from biasmir_utils.experiments import read_table
from design import BAND, SOLO, DatasetDesign, draw_tracks
from render import Task, clip_table, render_clip

SEED = 8
LABELS = ("cello", "flute")
CLIPS = {"train": 5, "test": 2}
PLANNED = 240  # enough to choose from
N_CLIPS = 2 * sum(CLIPS.values())
FETCHED = ["openmic", "irmas", "paper-split"]


def as_file(sound: bytes, kind: str) -> bytes:
    import soundfile

    wave, rate = soundfile.read(io.BytesIO(sound))
    file = io.BytesIO()
    subtype = {"WAV": "PCM_16", "OGG": "VORBIS"}[kind]
    soundfile.write(file, wave, rate, format=kind, subtype=subtype)
    return file.getvalue()


def chosen_clips(design: DatasetDesign) -> pd.DataFrame:
    """Take from a plan clips with one of the labels, and the other observed to be absent."""
    plan = clip_table(design, PLANNED, SEED)
    parts = []
    for label, other in (LABELS, LABELS[::-1]):
        fits = (plan[label] >= 0.5) & (plan[other] < 0.5)
        for split, n in CLIPS.items():
            parts.append(plan[fits & (plan["split"] == split)].head(n))
            assert len(parts[-1]) == n, "plan more clips to choose from"
    return pd.concat(parts)


def rendered(soundfonts: dict[str, Path]) -> list[Clip]:
    """Render `solo` clips as IRMAS, and `band` clips as OpenMIC-2018."""
    clips = []
    for design, dataset, kind in ((SOLO, "irmas", "WAV"), (BAND, "openmic", "OGG")):
        soundfont = soundfonts[design.source.soundfont]
        tracks = {t.name: t for t in draw_tracks(design, PLANNED, SEED)}
        for row in chosen_clips(design).to_dict("records"):
            track = tracks[row["track"]]
            names = [track.clip_name(number) for number in range(track.clips)]
            number = names.index(row["clip"])
            sound = render_clip(Task(design, track, number, soundfont, SEED))
            labels = {label: row[label] for label in INSTRUMENTS if not pd.isna(row[label])}
            if dataset == "irmas":
                labels = {max(labels, key=lambda label: labels[label]): 1.0}
            clips.append(
                Clip(
                    dataset,
                    1 + list(tracks).index(row["track"]),
                    number,
                    row["split"],
                    row["group"],
                    labels,
                    as_file(sound, kind),
                )
            )
    return clips


@pytest.fixture
def hosts(soundfonts, monkeypatch, tmp_path) -> Iterator[FaultyServer]:
    monkeypatch.setenv("BIASMIR_CACHE", str(tmp_path / "user"))
    (tmp_path / "tls").mkdir()
    with serve(PaperFiles.pack(rendered(soundfonts)), tmp_path / "tls", monkeypatch) as server:
        yield server


def test_from_the_audio_to_the_comparison(hosts, tmp_path):
    # fetch
    root = tmp_path / "user" / "data"
    output = run_command("fetch", *FETCHED)
    for words in ("CC BY 4.0", "CC BY-NC-SA 3.0, for non-commercial use", "not to be passed on"):
        assert words in output
    assert {asked.status for asked in hosts.asked} == {200}
    hosts.asked.clear()
    assert run_command("fetch", *FETCHED).count("there already, checked") == 4
    assert hosts.asked == []

    # prepare
    corpus = tmp_path / "corpus"
    output = run_command("prepare", "paper", corpus, "--from-audio")
    assert "none yet (see `biasmir extract`)" in output
    loaded = Corpus.load(corpus)
    assert len(loaded.clips) == 2 * N_CLIPS
    for row in range(2 * N_CLIPS):
        assert loaded.audio_path(row).resolve().is_relative_to(root)

    # extract
    output = run_command("extract", corpus, "--embedding", "mfcc", "--jobs", 0, "--quiet")
    assert f"{2 * N_CLIPS}" in output
    loaded = Corpus.load(corpus)
    assert loaded.embedding_names == ["mfcc"]
    assert loaded.complete(["mfcc"]).all()

    # evaluate
    results = tmp_path / "results.csv"
    corrections = ("none", "lda", "k", "klda")
    output = run_command(
        "evaluate", corpus, "--embedding", "mfcc", "--correction", *corrections,
        "--out", results, "--scores", "--jobs", 1,
    )  # fmt: skip
    assert "fall irmas>openmic" in output
    table = read_table(results)
    assert tuple(dict.fromkeys(table["label"])) == LABELS
    assert len(table) == len(LABELS) * len(corrections) * 4
    home = table[(table["train_set"] == table["test_set"]) & (table["correction"] == "none")]
    assert home["roc_auc"].mean() > 0.5

    # compare
    output = run_command(
        "compare", results, "--scores", results.with_suffix(".scores.parquet"),
        "--out", tmp_path / "comparison.csv", "--replicates", 100,
    )  # fmt: skip
    assert (
        "Nothing was published to set beside these results, of irmas, openmic with mfcc" in output
    )
    assert "CHECKED" not in output
    compared = pd.read_csv(tmp_path / "comparison.csv")
    assert set(compared["quantity"]) == {
        "mean", "fall", "mean fall", "change against none", "change against k",
    }  # fmt: skip
