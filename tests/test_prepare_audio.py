"""Corpora from the unpacked audio of OpenMIC-2018 and IRMAS, and mirdata's view of the same."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from faulty_server import FaultyServer
from small_archives import (
    IRMAS_NAMES,
    OPENMIC_CLASSES,
    adapted_registry,
    irmas_archive,
    openmic_archive,
    sum_of,
    tone,
)

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets import GENRES, INSTRUMENTS, Registry, known_counts
from biasmir_utils.datasets.genres import IRMAS_GENRES, match_genre
from biasmir_utils.datasets.irmas_tables import IRMAS_INSTRUMENTS
from biasmir_utils.datasets.known_counts import check_counts, published_files
from biasmir_utils.errors import CorpusError

TITLES = {
    "000046_3840": ["Experimental Pop", "Singer-Songwriter"],
    "000135_483840": ["Loud-Rock", "Psych-Rock"],
    "000139_119040": ["Noise"],
    "012345_0": ["20th Century Classical"],
    "012346_61440": ["Free-Jazz"],
    "155320_30720": [],
}
LABELS = [
    ("000046_3840", "clarinet", 0.17105),
    ("000046_3840", "flute", 0.0),
    ("000135_483840", "drums", 1.0),
    ("000135_483840", "voice", 0.5),
    ("012345_0", "violin", 0.93),
    ("012346_61440", "saxophone", 0.72),
    ("155320_30720", "mallet_percussion", 0.81),
]
SPLIT = {key: "test" if key in ("012345_0", "155320_30720") else "train" for key in TITLES}
IRMAS_TEST = IRMAS_NAMES[2::3]


def ogg(key: str) -> bytes:
    import soundfile

    file = io.BytesIO()
    pitch = 200 + int(key[:6]) % 400
    samples = np.sin(2 * np.pi * pitch * np.arange(44_100) / 22_050)
    soundfile.write(file, 0.3 * samples, 22_050, format="OGG", subtype="VORBIS")
    return file.getvalue()


@pytest.fixture(scope="module")
def archives() -> dict[str, bytes]:
    split = {"train": [n for n in IRMAS_NAMES if n not in IRMAS_TEST], "test": IRMAS_TEST}
    lists = {
        f"irmas_{part}.csv": "".join(f"{name}\n" * 2 for name in names).encode()
        for part, names in split.items()
    }
    metadata = [{"sample_key": key, "track_genres": titles} for key, titles in TITLES.items()]
    return {
        "openmic-2018-v1.0.0.tgz": openmic_archive(metadata, LABELS, SPLIT, ogg),
        "IRMAS-TrainingData.zip": irmas_archive(audio=lambda name: tone(0.5, 16_000)),
        **lists,
    }


@pytest.fixture(scope="module")
def registry_file(archives, tmp_path_factory) -> Path:
    own = {
        name: {"sum": sum_of(content, "sha256" if name.endswith("csv") else "md5"), "size": 0}
        for name, content in archives.items()
    }
    return adapted_registry(tmp_path_factory.mktemp("table") / "table.json", own)


@pytest.fixture(scope="module")
def original_root(archives, registry_file, tmp_path_factory) -> Path:
    """The root that `biasmir fetch` fills from a server with small archives."""
    root = tmp_path_factory.mktemp("fetched") / "root"
    with FaultyServer() as server:
        for name, content in archives.items():
            server.add(f"/{name}", content)
        arguments = ["--root", root, "--base-url", server.url, "--registry", registry_file]
        arguments = ["fetch", "openmic", "irmas", "paper-split", *map(str, arguments)]
        done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return root


@pytest.fixture
def root(original_root, tmp_path) -> Path:
    """A copy of that root which a test may spoil."""
    import shutil

    return Path(shutil.copytree(original_root, tmp_path / "root"))


def prepare(kind: str, root: Path, out: Path, *options: str) -> Corpus:
    done = CliRunner().invoke(main, ["prepare", kind, "--root", str(root), str(out), *options])
    assert done.exit_code == 0, done.output
    return Corpus.load(out)


def test_openmic_has_every_clip_class_and_audio_file(original_root, tmp_path):
    corpus = prepare("openmic", original_root, tmp_path / "out")
    clips = corpus.clips.set_index("clip")
    assert clips.index.tolist() == sorted(TITLES)
    assert corpus.datasets == ["openmic"]
    assert corpus.labels == OPENMIC_CLASSES
    assert clips["split"].to_dict() == SPLIT
    assert clips["track"].to_dict() == {key: key[:6] for key in TITLES}
    assert clips.loc["000046_3840", "group"] == "pop_rock"
    assert clips.loc["012345_0", "group"] == "classical"
    assert clips.loc[["000139_119040", "155320_30720"], "group"].isna().all()
    assert clips.loc["000046_3840", "genres"] == "Experimental Pop; Singer-Songwriter"
    assert clips["start_time"].tolist() == [3.84] * len(TITLES)
    observed = clips[OPENMIC_CLASSES].stack().dropna()
    assert observed.to_dict() == {(key, name): value for key, name, value in LABELS}
    for row, key in enumerate(corpus.clips["clip"]):
        path = corpus.audio_path(row)
        assert path is not None
        assert path.resolve() == original_root / "openmic-2018" / "audio" / key[:3] / f"{key}.ogg"
    assert not Path(corpus.clips["audio"][0]).is_absolute()
    assert corpus.description.provenance["without_group"] == {"openmic": {"no matching genre": 2}}


def test_irmas_has_every_clip_and_the_published_split(original_root, tmp_path):
    corpus = prepare("irmas", original_root, tmp_path / "out")
    clips = corpus.clips.set_index("clip")
    assert clips.index.tolist() == sorted(IRMAS_NAMES)
    assert corpus.labels == list(INSTRUMENTS)
    assert set(clips.index[clips["split"] == "test"]) == set(IRMAS_TEST)
    assert (clips[list(INSTRUMENTS)].sum(axis=1) == 1).all()
    soul = clips.loc["[sax][dru][lat_sou]1599__1"]
    assert soul["saxophone"] == 1
    assert pd.isna(soul["group"])
    assert (soul["genre_code"], soul["instrument_code"], soul["drums"]) == ("lat_sou", "sax", "yes")
    assert pd.isna(clips.loc["[gac][cou_fol]0567__1", "drums"])
    assert clips.loc["[gac][cou_fol]0567__1", "guitar"] == 1
    for row, name in enumerate(corpus.clips["clip"]):
        path = corpus.audio_path(row)
        assert path is not None
        assert path.is_file()
        assert path.stem == name


def test_the_corpus_of_the_paper_can_be_made_from_the_audio(original_root, tmp_path):
    corpus = prepare("paper", original_root, tmp_path / "out", "--from-audio")
    assert corpus.datasets == ["irmas", "openmic"]
    assert corpus.embedding_names == []
    assert corpus.clips["group"].notna().all()
    assert corpus.clips["dataset"].value_counts().to_dict() == {"irmas": 11, "openmic": 4}
    paths = [corpus.audio_path(row) for row in range(len(corpus.clips))]
    assert all(path is not None and path.is_file() for path in paths)
    assert "counts_as_published" in corpus.description.provenance


def test_audio_in_place_is_extracted(original_root, tmp_path):
    out = tmp_path / "out"
    prepare("openmic", original_root, out)
    before = {p: p.stat().st_mtime_ns for p in original_root.rglob("*")}
    done = CliRunner().invoke(main, ["extract", str(out), "--embedding", "mfcc"])
    assert done.exit_code == 0, done.output
    corpus = Corpus.load(out)
    assert np.isfinite(corpus.embedding("mfcc")).all()
    assert {p: p.stat().st_mtime_ns for p in original_root.rglob("*")} == before


def test_a_clip_without_audio_is_counted(root, tmp_path):
    (root / "openmic-2018" / "audio" / "000" / "000046_3840.ogg").unlink()
    corpus = prepare("openmic", root, tmp_path / "out")
    assert corpus.audio_path(0) is None
    assert corpus.audio_path(1) is not None
    assert corpus.description.provenance["without_audio"] == {"openmic": 1}


@pytest.mark.parametrize(
    ("kind", "spoil", "match"),
    [
        ("openmic", "openmic-2018/audio", "no audio of OpenMIC-2018; run `biasmir fetch openmic`"),
        ("irmas", "IRMAS-TrainingData", "no audio of IRMAS; run `biasmir fetch irmas`"),
        ("irmas", "paper/irmas_test.csv", "run `biasmir fetch paper-split` first"),
        (
            "openmic",
            "openmic-2018/class-map.json",
            "class-map.json: no such file; run `biasmir fetch openmic`",
        ),
    ],
)
def test_what_is_missing_is_named(kind, spoil, match, root, tmp_path):
    (root / spoil).rename(tmp_path / "away")
    arguments = ["prepare", kind, "--root", str(root), str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert match in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("cel/[cel][cla]9999__1.wav", "in neither"),
        (f"cla/{IRMAS_NAMES[0]}.wav", "the same clip is in"),
    ],
)
def test_audio_that_does_not_fit_the_split_is_named(name, match, root, tmp_path):
    (root / "IRMAS-TrainingData" / name).write_bytes(tone())
    arguments = ["prepare", "irmas", "--root", str(root), str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert match in done.stderr


class TestCounts:
    """Where the files have the sums of the table, the protocol's counts are asserted."""

    @pytest.fixture
    def registry(self, registry_file) -> Registry:
        return Registry.load(registry_file)

    @pytest.fixture
    def table(self, original_root, tmp_path) -> pd.DataFrame:
        return prepare("paper", original_root, tmp_path / "c", "--from-audio").clips

    def test_small_files_are_not_taken_for_the_published_ones(self, original_root, table):
        assert published_files(original_root) == {"irmas": False, "openmic": False}
        assert check_counts(table, original_root) == {"irmas": False, "openmic": False}

    def test_files_with_the_sums_of_the_table_are(self, root, registry):
        assert published_files(root, registry) == {"irmas": True, "openmic": True}
        (root / "paper" / "irmas_test.csv").write_bytes(b"x")
        (root / "openmic-2018" / "class-map.json").write_bytes(b"{}")
        assert published_files(root, registry) == {"irmas": False, "openmic": False}

    @pytest.mark.parametrize(
        ("dataset", "match"),
        [("irmas", "give 8 clips of train, expected 4997"), ("openmic", "3 clips of train")],
    )
    def test_other_counts_than_published_are_an_error(
        self, dataset, match, original_root, table, registry
    ):
        part = table[table["dataset"] == dataset]
        with pytest.raises(CorpusError, match=match):
            check_counts(part, original_root, registry)

    def test_the_right_counts_pass_and_each_wrong_one_is_noticed(
        self, original_root, registry, monkeypatch, table
    ):
        train = table[table["split"] == "train"]
        for dataset, part in train.groupby("dataset"):
            n_test = int((table["dataset"] == dataset).sum()) - len(part)
            monkeypatch.setitem(known_counts.SPLITS, dataset, {"train": len(part), "test": n_test})
        irmas = train[train["dataset"] == "irmas"]
        labels = {name: int(irmas[name].sum()) for name in INSTRUMENTS}
        monkeypatch.setattr(known_counts, "IRMAS_TRAIN_LABELS", labels)
        genres = train.loc[train["dataset"] == "openmic", "group"].value_counts().to_dict()
        monkeypatch.setattr(known_counts, "OPENMIC_TRAIN_GENRES", genres)
        assert check_counts(table, original_root, registry) == {"irmas": True, "openmic": True}
        labels["cello"] += 1
        with pytest.raises(CorpusError, match="training clips of cello"):
            check_counts(table, original_root, registry)
        labels["cello"] -= 1
        genres["pop_rock"] -= 1
        with pytest.raises(CorpusError, match="training clips of pop_rock"):
            check_counts(table, original_root, registry)

    def test_the_counts_are_those_of_the_protocol(self, shared):
        page = (shared / "spec" / "paper-protocol.md").read_text("utf-8")
        assert "4,997 / 1,666" in page
        assert known_counts.SPLITS["irmas"] == {"train": 4997, "test": 1666}
        assert known_counts.SPLITS["openmic"] == {"train": 6838, "test": 2491}
        assert "6,838 train" in page
        assert "2,491 test" in page
        for name, count in known_counts.IRMAS_TRAIN_LABELS.items():
            assert f"{name} {count}" in page
        for name, count in known_counts.OPENMIC_TRAIN_GENRES.items():
            assert f"{name} {count}" in page
        assert sum(known_counts.IRMAS_TRAIN_LABELS.values()) == 4997
        assert sum(known_counts.OPENMIC_TRAIN_GENRES.values()) == 6838
        assert set(known_counts.OPENMIC_TRAIN_GENRES) == set(GENRES)


def mirdata_dataset(module, home: Path, tracks: dict[str, dict[str, list[str | None]]], out: Path):
    """Open a folder with mirdata; its index is itself a download, so one is written here."""
    out.write_text(json.dumps({"version": "sample", "tracks": tracks}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = module.Dataset(data_home=str(home), version="test")
    dataset.index_path = str(out)
    return dataset


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_openmic_agrees_with_mirdata(original_root, tmp_path):
    from mirdata.datasets import openmic2018

    home = original_root / "openmic-2018"
    tracks: dict[str, dict[str, list[str | None]]] = {}
    for key in TITLES:
        audio, vggish = f"audio/{key[:3]}/{key}.ogg", f"vggish/{key[:3]}/{key}.json"
        tracks[key] = {
            "audio": [audio, md5(home / audio)],
            "vggish": [vggish, md5(home / vggish)],
        }
    dataset = mirdata_dataset(openmic2018, home, tracks, tmp_path / "index.json")
    assert dataset.validate(verbose=False) == ({"tracks": {}}, {"tracks": {}})

    corpus = prepare("openmic", original_root, tmp_path / "out")
    assert corpus.clips["clip"].tolist() == sorted(dataset.track_ids)
    for row, clip in corpus.clips.iterrows():
        track = dataset.track(clip["clip"])
        path = corpus.audio_path(row)
        assert path is not None
        assert path.resolve() == Path(track.audio_path)
        assert f"split01_{clip['split']}" == track.split
        assert clip[OPENMIC_CLASSES].dropna().to_dict() == track.instruments
        assert clip["start_time"] == track.start_time
        assert (clip["artist"], clip["title"]) == (track.artist, track.title)
        # mirdata fails on a clip without genres, which its own sample has none of.
        if TITLES[clip["clip"]]:
            assert clip["genres"].split("; ") == track.genres
            group = match_genre(track.genres)
            assert group == (None if pd.isna(clip["group"]) else clip["group"])


def test_irmas_agrees_with_mirdata(original_root, tmp_path):
    from mirdata.datasets import irmas

    tracks: dict[str, dict[str, list[str | None]]] = {}
    for name in IRMAS_NAMES:
        code = name[name.index("[") + 1 : name.index("]")]
        path = f"IRMAS-TrainingData/{code}/{name}.wav"
        tracks[name] = {
            "audio": [path, md5(original_root / path)],
            "annotation": [path, md5(original_root / path)],
        }
    dataset = mirdata_dataset(irmas, original_root, tracks, tmp_path / "index.json")
    assert dataset.validate(verbose=False) == ({"tracks": {}}, {"tracks": {}})

    corpus = prepare("irmas", original_root, tmp_path / "out")
    assert corpus.clips["clip"].tolist() == sorted(dataset.track_ids)
    for row, clip in corpus.clips.iterrows():
        track = dataset.track(clip["clip"])
        path = corpus.audio_path(row)
        assert path is not None
        assert path.resolve() == Path(track.audio_path)
        assert track.instrument == [clip["instrument_code"]]
        assert clip[IRMAS_INSTRUMENTS[track.instrument[0]]] == 1
        assert clip["genre_code"] == track.genre
        group = IRMAS_GENRES.get(track.genre)
        assert group == (None if pd.isna(clip["group"]) else clip["group"])
        assert track.drum == (None if pd.isna(clip["drums"]) else clip["drums"] == "yes")
