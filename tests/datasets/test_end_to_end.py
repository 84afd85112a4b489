"""From the hosts to the comparison, command by command, on small archives in the real layout.

A server stands in for the real hosts. The archives hold sound that the project renders: `solo`
clips as IRMAS, `band` clips as OpenMIC-2018. No command is left out, and each runs on what the one
before it left.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import absent
from faulty_server import FaultyServer
from stand_in import Clip, PaperFiles, serve

from biasmir_utils.cli import main
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
pytestmark = pytest.mark.xdist_group("end to end")
FETCHED = ["openmic", "irmas", "paper-split", "paper-embeddings"]


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in arguments])
    assert done.exit_code == 0, f"biasmir {' '.join(map(str, arguments))}\n{done.output}"
    return done.output


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


@dataclass(frozen=True)
class StandIn:
    clips: list[Clip]
    files: PaperFiles


@pytest.fixture(scope="module")
def stand_in(soundfonts, tmp_path_factory) -> StandIn:
    folder = tmp_path_factory.mktemp("stand-in")
    clips = rendered(soundfonts)
    rng = np.random.default_rng(0)
    published = {
        name: rng.normal(0, 1, (len(clips), d)) for name, d in (("vggish", 6), ("yamnet", 8))
    }
    files = PaperFiles.pack(clips, published, folder)
    return StandIn(clips, files)


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def hosts(stand_in, patch, tmp_path_factory) -> Iterator[FaultyServer]:
    try:
        with serve(stand_in.files, tmp_path_factory.mktemp("tls"), patch) as server:
            yield server
    except LookupError as error:
        absent(str(error))


@pytest.fixture(scope="module")
def root(stand_in, hosts, patch, tmp_path_factory) -> Path:
    """Where `biasmir fetch` puts files, as a user sets it; filled by it."""
    folder = tmp_path_factory.mktemp("user") / "data"
    patch.setenv("BIASMIR_DATA", str(folder))
    output = run("fetch", *FETCHED)
    for words in ("CC BY 4.0", "CC BY-NC-SA 3.0, for non-commercial use", "not to be passed on"):
        assert words in output
    return folder


def test_from_the_audio_to_the_comparison(stand_in, hosts, root, tmp_path):
    # fetch
    sent = {address: hosts.sent(address) for address in stand_in.files.addresses().values()}
    assert sent == {
        address: len(stand_in.files.content[name])
        for name, address in stand_in.files.addresses().items()
    }
    hosts.asked.clear()
    again = run("fetch", *FETCHED)
    assert again.count("there already, checked") == len(stand_in.files.content)
    assert hosts.asked == []

    # prepare
    corpus = tmp_path / "corpus"
    output = run("prepare", "paper", corpus, "--from-audio")
    assert "none yet (see `biasmir extract`)" in output
    loaded = Corpus.load(corpus)
    assert len(loaded.clips) == 2 * N_CLIPS
    for row in range(2 * N_CLIPS):
        audio = loaded.audio_path(row)
        assert audio is not None
        assert audio.resolve().is_relative_to(root)

    # extract
    output = run("extract", corpus, "--embedding", "mfcc", "--jobs", 0, "--quiet")
    assert f"{2 * N_CLIPS}" in output
    loaded = Corpus.load(corpus)
    assert loaded.embedding_names == ["mfcc"]
    assert loaded.complete(["mfcc"]).all()
    assert len(loaded.missing("mfcc")) == 0

    # evaluate
    results = tmp_path / "results.csv"
    corrections = ("none", "lda", "k", "klda")
    output = run(
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
    output = run(
        "compare", results, "--scores", results.with_suffix(".scores.parquet"),
        "--out", tmp_path / "comparison.csv", "--replicates", 100,
    )  # fmt: skip
    assert (
        "Nothing was published to set beside these results, of irmas, openmic with mfcc" in output
    )
    assert "CHECKED" not in output
    compared = pd.read_csv(tmp_path / "comparison.csv")
    assert set(compared["quantity"]) == {
        "mean", "fall", "change against none", "change against k",
    }  # fmt: skip


def test_from_the_published_embeddings_to_the_comparison(stand_in, root, tmp_path):
    corpus = tmp_path / "corpus"
    output = run("prepare", "paper", corpus)
    assert "vggish" in output
    results = tmp_path / "results.csv"
    run(
        "evaluate", corpus, "--embedding", "vggish", "yamnet", "--correction", "paper",
        "--mode", "global", "classwise", "--out", results, "--jobs", 1,
    )  # fmt: skip
    output = run("compare", results)
    assert "96 of 144 published means matched" in output
    assert "These are not the paper's clips: irmas has " in output


def test_each_data_set_by_itself(root, tmp_path):
    for name, extension in (("irmas", ".wav"), ("openmic", ".ogg")):
        corpus = tmp_path / name
        run("prepare", name, corpus)
        run("extract", corpus, "--embedding", "mfcc", "--jobs", 0, "--quiet")
        output = run("info", corpus)
        assert "mfcc" in output
        loaded = Corpus.load(corpus)
        assert len(loaded.clips) == N_CLIPS
        assert loaded.clips["audio"].str.endswith(extension).all()
        assert loaded.complete(["mfcc"]).all()


def test_in_one_command(stand_in, root):
    output = run("reproduce", "--jobs", 1, "--quiet")
    assert "96 of 144 published means matched" in output
    assert (root / "reproduction" / "report.txt").is_file()
