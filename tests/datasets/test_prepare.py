"""Corpora of OpenMIC-2018, IRMAS and the paper: what the tables say, and if they are broken."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from stand_in import (
    GENRE_CODES,
    INSTRUMENT_CODES,
    IRMAS_NAMES,
    OPENMIC_CLASSES,
    expect,
    irmas_archive,
    openmic_archive,
    tone,
)

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus, write_embedding_file
from biasmir_utils.corrections import correct_corpus
from biasmir_utils.datasets import (
    DATASETS,
    GENRES,
    INSTRUMENTS,
    fetch,
    prepare_openmic,
    prepare_paper,
)
from biasmir_utils.errors import CorpusError

METADATA = "openmic-2018/openmic-2018-metadata.csv"
LABELS = "openmic-2018/openmic-2018-aggregated-labels.csv"
TITLES = {
    "000046_3840": ["Experimental Pop", "Singer-Songwriter"],
    "000135_483840": ["Loud-Rock", "Psych-Rock"],
    "000139_119040": ["Noise"],
    "012345_0": ["20th Century Classical"],
    "012346_61440": ["Free-Jazz"],
    "155320_30720": [],
}
OBSERVED = [
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
        "openmic-2018-v1.0.0.tgz": openmic_archive(metadata, OBSERVED, SPLIT, ogg),
        "IRMAS-TrainingData.zip": irmas_archive(audio=lambda name: tone(0.5, 16_000)),
        **lists,
    }


@pytest.fixture(scope="module")
def original_root(archives, tmp_path_factory) -> Path:
    """The root that `biasmir fetch` fills from small archives."""
    folder = tmp_path_factory.mktemp("fetched")
    for name, content in archives.items():
        (folder / name).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        expect(archives, patch)
        fetch(["openmic", "irmas", "paper-split"], folder / "root", from_dir=folder)
    return folder / "root"


@pytest.fixture
def root(original_root, tmp_path) -> Path:
    """A copy of that root which a test may spoil."""
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
    assert observed.to_dict() == {(key, name): value for key, name, value in OBSERVED}
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

    def counted(self, root: Path, out: Path) -> dict[str, bool]:
        corpus = prepare_paper(root, out, from_audio=True)
        return corpus.description.provenance["counts_as_published"]

    def test_small_files_are_not_taken_for_the_published_ones(self, original_root, tmp_path):
        assert self.counted(original_root, tmp_path / "c") == {"irmas": False, "openmic": False}

    @pytest.mark.parametrize(
        ("dataset", "match"),
        [("irmas", "give 8 clips of train, expected 4997"), ("openmic", "give 3 clips of train")],
    )
    def test_other_counts_than_published_are_an_error(
        self, dataset, match, archives, original_root, tmp_path, monkeypatch
    ):
        counts = DATASETS[dataset].counts
        expect(archives, monkeypatch)
        monkeypatch.setitem(DATASETS, dataset, replace(DATASETS[dataset], counts=counts))
        with pytest.raises(CorpusError, match=match):
            prepare_paper(original_root, tmp_path / "c", from_audio=True)
        assert not (tmp_path / "c").exists()

    def test_the_right_counts_pass_and_each_wrong_one_is_noticed(
        self, archives, root, tmp_path, monkeypatch
    ):
        expect(archives, monkeypatch)
        right = {
            "irmas": {"train": 8, "test": 3, "cello": 2, "flute": 1},
            "openmic": {"train": 3, "test": 1, "pop_rock": 2, "jazz_blue": 1, "country_folk": 0},
        }

        def use(dataset: str, **other: int) -> None:
            counts = {**right[dataset], **other}
            monkeypatch.setitem(DATASETS, dataset, replace(DATASETS[dataset], counts=counts))

        for dataset in right:
            use(dataset)
        assert self.counted(root, tmp_path / "c") == {"irmas": True, "openmic": True}
        for dataset, name in (("irmas", "cello"), ("openmic", "pop_rock")):
            use(dataset, **{name: 5})
            with pytest.raises(CorpusError, match=f"2 training clips of {name}, expected 5"):
                self.counted(root, tmp_path / "d")
            use(dataset)
        edit(root / "paper" / "irmas_test.csv", IRMAS_TEST[0] + "\n", "")
        (root / "openmic-2018" / "class-map.json").write_text(
            (root / "openmic-2018" / "class-map.json").read_text() + " "
        )
        assert self.counted(root, tmp_path / "e") == {"irmas": False, "openmic": False}

    def test_the_counts_are_those_of_the_protocol(self, shared):
        page = (shared / "spec" / "paper-protocol.md").read_text("utf-8")
        irmas, openmic = dict(DATASETS["irmas"].counts), dict(DATASETS["openmic"].counts)
        assert f"{irmas['train']:,} / {irmas['test']:,}" in page
        assert f"{openmic['train']:,} train" in page
        assert f"{openmic['test']:,} test" in page
        for counts, names in ((irmas, INSTRUMENTS), (openmic, GENRES)):
            train = counts.pop("train")
            del counts["test"]
            assert sum(counts.values()) == train
            assert set(counts) == set(names)
            for name, count in counts.items():
                assert f"{name} {count}" in page


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
        assert clip[INSTRUMENT_CODES[track.instrument[0]]] == 1
        assert clip["genre_code"] == track.genre
        group = next((g for g, code in GENRE_CODES.items() if code == track.genre), None)
        assert group == (None if pd.isna(clip["group"]) else clip["group"])
        assert track.drum == (None if pd.isna(clip["drums"]) else clip["drums"] == "yes")


def small_root(folder: Path) -> Path:
    """A handful of clips in the layout of the real files."""
    (folder / "paper").mkdir(parents=True)
    (folder / "openmic-2018" / "partitions").mkdir(parents=True)
    irmas = {
        "train": ["001__[gel][dru][pop_roc]0001__2", "001__[gel][dru][pop_roc]0001__1"],
        "test": ["002__[gac][nod][cla]0002__1", "003__[voi][lat_sou]0003__1"],
    }
    for split, names in irmas.items():
        text = "".join(f"{name}\n" * 2 for name in names)
        (folder / "paper" / f"irmas_{split}.csv").write_text(text)
    genre = "[{{'genre_id': '1', 'genre_title': '{}'}}]"
    metadata = [
        ["track_id", "track_genres", "sample_key", "start_time"],
        ["7", genre.format("Free-Jazz"), "000007_100", "100"],
        ["5", genre.format("Blues"), "000005_200", "200"],
        ["9", genre.format("Folk"), "000009_300", "300"],
    ]
    openmic = folder / "openmic-2018"
    with open(openmic / "openmic-2018-metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows(metadata)
    labels = [
        ["sample_key", "instrument", "relevance", "num_responses"],
        ["000007_100", "piano", "0.5", "3"],
        ["000007_100", "banjo", "0.9", "3"],
        ["000009_300", "piano", "0.25", "3"],
        ["000009_300", "cello", "1", "3"],
    ]
    with open(openmic / "openmic-2018-aggregated-labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(labels)
    (openmic / "class-map.json").write_text(
        json.dumps({name: i for i, name in enumerate(sorted([*INSTRUMENTS, "banjo"]))})
    )
    (openmic / "partitions" / "split01_train.csv").write_text("000007_100\n000005_200\n")
    (openmic / "partitions" / "split01_test.csv").write_text("000009_300\n")
    keys = [name for names in irmas.values() for name in names]
    data = {
        "irmas": (keys, [[float(i)] * 3 for i in range(len(keys))]),
        "openmic": (["000007_100", "000005_200"], [[1.0] * 3, [2.0] * 3]),
    }
    write_embedding_file(
        folder / "paper" / "embeddings.h5",
        "vggish",
        {name: (k, np.array(X, np.float32)) for name, (k, X) in data.items()},
    )
    return folder


def test_prepare_paper_reads_every_table(tmp_path):
    root = small_root(tmp_path / "root")
    corpus = prepare_paper(root, tmp_path / "out")
    clips = corpus.clips.set_index("clip")
    assert corpus.clips["clip"].tolist() == [
        "001__[gel][dru][pop_roc]0001__1",
        "001__[gel][dru][pop_roc]0001__2",
        "002__[gac][nod][cla]0002__1",
        "000007_100",
        "000009_300",
    ]
    assert clips["track"].tolist()[1:] == [
        "001__[gel][dru][pop_roc]0001",
        "002__[gac][nod][cla]0002",
        "000007",
        "000009",
    ]
    assert clips["split"].tolist() == ["train", "train", "test", "train", "test"]
    assert clips["group"].tolist() == [
        "pop_rock",
        "pop_rock",
        "classical",
        "jazz_blue",
        "country_folk",
    ]
    assert clips["guitar"].tolist()[:3] == [1, 1, 1]
    assert clips["piano"].tolist()[:3] == [0, 0, 0]
    assert clips.loc["000007_100", "piano"] == 0.5
    assert pd.isna(clips.loc["000007_100", "cello"])
    assert corpus.labels == list(INSTRUMENTS)
    assert corpus.description.provenance["left_out"] == {
        "irmas": {"genre lat_sou": 1},
        "openmic": {"no matching genre": 1},
    }
    # The published file is used where it is, and what the table does not list is counted.
    assert corpus.embedding_file("vggish", "irmas") == (root / "paper/embeddings.h5").resolve()
    assert corpus.n_unlisted("vggish") == 2
    assert corpus.missing("vggish")["clip"].tolist() == ["000009_300"]


def openmic_root(folder: Path, cells: Sequence[str]) -> Path:
    """Give the clips of a small root other cells with genres."""
    root = small_root(folder)
    path = root / METADATA
    rows = list(csv.DictReader(path.read_text().splitlines()))
    keys = [f"{i:06d}_0" for i in range(len(cells))]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for key, cell in zip(keys, cells, strict=True):
            writer.writerow({"track_genres": cell, "sample_key": key})
    (root / LABELS).write_text(f"sample_key,instrument,relevance\n{keys[0]},piano,1\n")
    (root / "openmic-2018/partitions/split01_train.csv").write_text("\n".join(keys))
    (root / "openmic-2018/partitions/split01_test.csv").write_text("")
    (root / "openmic-2018/audio/000").mkdir(parents=True)
    (root / f"openmic-2018/audio/000/{keys[0]}.ogg").write_bytes(b"")
    return root


def test_the_first_title_that_names_a_genre_decides(tmp_path):
    """Of equal words, whatever parts them; of two in one title the first in the paper's order."""
    expected = {
        ("Power-Pop",): "pop_rock",
        ("Blues",): None,
        ("Free-Jazz",): "jazz_blue",
        ("Jazz/Blue_2-Step",): "jazz_blue",
        ("Hip-Hop", "Experimental"): None,
        ("20th Century CLASSICAL",): "classical",
        ("Electronic", "Country"): "country_folk",
        ("Folk", "Rock"): "country_folk",
        ("Folk Rock",): "pop_rock",
        ("Rocks", "popular"): None,
        ("Folk5Jazz",): "jazz_blue",
        (): None,
    }
    cells = [str([{"genre_title": title} for title in titles]) for titles in expected]
    corpus = prepare_openmic(openmic_root(tmp_path / "root", [*cells, ""]), tmp_path / "out")
    found = [None if pd.isna(group) else group for group in corpus.clips["group"]]
    assert found == [*expected.values(), None]


@pytest.mark.parametrize(
    "cell",
    ["__import__('os').getcwd()", "{'genre_title': 'Rock'}", "[1]", "[{'genre_title': 3}]", "["],
)
def test_a_genre_cell_is_a_literal_list_and_nothing_else(cell, tmp_path):
    root = openmic_root(tmp_path / "root", ["[]", cell])
    with pytest.raises(CorpusError, match=r"line 3, clip '000001_0': .* expected a list of dicts"):
        prepare_openmic(root, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no brackets__1", "not of the form"),
        ("[cel][cla]without a number", "not of the form"),
        ("[xyz][cla]0001__1", "an instrument that is not"),
        ("[cel][metal]0001__1", "a genre that is not"),
        ("a__b[sax][jaz_blu]1__3", None),  # two underscores inside a track stay
    ],
)
def test_a_clip_name_tells_instrument_genre_and_track(name, told, tmp_path):
    root = small_root(tmp_path / "root")
    (root / "paper" / "irmas_test.csv").write_text(f"{name}\n")
    if told:
        with pytest.raises(CorpusError, match=f"irmas_test.csv: the clip name .*{told}"):
            prepare_paper(root, tmp_path / "out")
        return
    clip = prepare_paper(root, tmp_path / "out").clips.set_index("clip").loc[name]
    assert (clip["track"], clip["group"]) == ("a__b[sax][jaz_blu]1", "jazz_blue")
    assert clip["saxophone"] == 1


def test_what_was_never_checked_is_said_wherever_the_corpus_is_looked_at(tmp_path):
    root, out = small_root(tmp_path / "root"), tmp_path / "out"
    checked = prepare_paper(root, tmp_path / "checked")
    assert checked.description.unchecked == {}
    assert checked.warnings == []
    # As `fetch` leaves it. Of an archive, every file that was unpacked from it counts; and what is
    # not used does not matter.
    sums = {
        "embeddings.h5": {"sum": "sha256:beef", "became": "paper/embeddings.h5"},
        "openmic.tgz": {"sum": "md5:0d15", "became": "openmic-2018"},
        "yamnet.tgz": {"sum": "md5:5eed", "became": "models/yamnet"},
    }
    (root / "downloads").mkdir()
    (root / "downloads" / "sums.json").write_text(
        json.dumps({name: {**entry, "unchecked": True} for name, entry in sums.items()})
    )
    told = CliRunner().invoke(main, ["prepare", "paper", "--root", str(root), str(out)]).output
    corpus = Corpus.load(out)
    assert corpus.description.unchecked == {
        "paper/embeddings.h5": "sha256:beef",
        "openmic-2018": "md5:0d15",
    }
    later = CliRunner().invoke(main, ["info", str(out)]).output
    corrected = correct_corpus(corpus, "center", tmp_path / "corrected").summary()
    for text in (told, later, corrected):
        assert "paper/embeddings.h5 was UNCHECKED when this corpus was made" in text
        assert "openmic-2018 was UNCHECKED" in text
        assert "models/yamnet" not in text
    path = out / "corpus.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "provenance": {"unchecked": 1}}))
    assert Corpus.load(out).warnings == []


def test_prepare_paper_on_the_oracle(shared, tmp_path):
    out = tmp_path / "corpus"
    done = CliRunner().invoke(
        main, ["prepare", "paper", "--root", str(shared / "oracle" / "a"), str(out)]
    )
    assert done.exit_code == 0, done.output
    corpus = Corpus.load(out)
    counts = corpus.clips.groupby(["dataset", "split"]).size()
    assert counts.to_dict() == {
        ("irmas", "test"): 400,
        ("irmas", "train"): 1187,
        ("openmic", "test"): 515,
        ("openmic", "train"): 1509,
    }
    assert "vggish" in done.output
    assert corpus.warnings == []
    for _, part in corpus.clips.groupby("dataset"):
        assert part["clip"].is_monotonic_increasing


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (METADATA, "track_genres", "genres", "column 'track_genres' is missing"),
        (METADATA, "000009_300,300", "000007_100,300", "line 4: the clip '000007_100' is there"),
        (METADATA, "[{'genre_id': '1', 'genre_title': 'Folk'}]", "[oops", "line 4, clip '000009_3"),
        (LABELS, "0.25", "1.25", r"line 4: a relevance that is not in \[0, 1\]"),
        (LABELS, "0.25", "high", r"line 4: a relevance that is not in \[0, 1\]"),
        (LABELS, "banjo", "kazoo", "line 3: a class that class-map.json has not"),
        (LABELS, "000009_300,cello", "000008_300,cello", "line 5: an unknown clip"),
        (LABELS, "000009_300,cello", "000009_300,piano", "line 5: a clip and class that stood"),
        ("openmic-2018/class-map.json", '"cello"', '"celli"', "class 'cello' is missing"),
        ("openmic-2018/class-map.json", "{", "[", "expected a JSON object"),
        (
            "openmic-2018/partitions/split01_test.csv",
            "000009_300",
            "",
            "1 clip.s. of .* in neither",
        ),
        (
            "openmic-2018/partitions/split01_test.csv",
            "000009_300",
            "000007_100",
            "line 1: the clip '000007_100' is in train as well",
        ),
        (
            "paper/irmas_test.csv",
            "[gac]",
            "[gut]",
            "irmas_test.csv: .* an instrument that is not known",
        ),
        (
            "paper/irmas_test.csv",
            "002__[gac][nod][cla]0002__1",
            "001__[gel][dru][pop_roc]0001__1",
            "is in the other list as well",
        ),
    ],
)
def test_a_broken_table_is_named_with_its_row(tmp_path, file, old, new, told):
    root = small_root(tmp_path / "root")
    edit(root / file, old, new)
    with pytest.raises(CorpusError, match=told) as caught:
        prepare_paper(root, tmp_path / "out")
    assert str(root) in str(caught.value)
    assert not (tmp_path / "out" / "corpus.json").exists()


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("paper/irmas_train.csv", "paper-split"),
        ("paper/embeddings.h5", "paper-embeddings"),
        (METADATA, "openmic"),
        (LABELS, "openmic"),
        ("openmic-2018/class-map.json", "openmic"),
        ("openmic-2018/partitions/split01_train.csv", "openmic"),
    ],
)
def test_a_missing_file_is_named_with_the_command_that_brings_it(tmp_path, file, source):
    root = small_root(tmp_path / "root")
    (root / file).unlink()
    told = f"{re.escape(Path(file).name)}: no such file; .*`biasmir fetch {source}`"
    with pytest.raises(CorpusError, match=told):
        prepare_paper(root, tmp_path / "out")


def test_an_empty_list_of_clips_is_an_error(tmp_path):
    root = small_root(tmp_path / "root")
    (root / "paper" / "irmas_train.csv").write_text("\n")
    with pytest.raises(CorpusError, match="the list is empty"):
        prepare_paper(root, tmp_path / "out")


def test_a_folder_that_holds_a_corpus_is_not_overwritten(tmp_path):
    root = small_root(tmp_path / "root")
    prepare_paper(root, tmp_path / "out")
    before = (tmp_path / "out" / "clips.parquet").read_bytes()
    shutil.rmtree(root / "openmic-2018" / "partitions")
    with pytest.raises(CorpusError):
        prepare_paper(root, tmp_path / "out")
    assert (tmp_path / "out" / "clips.parquet").read_bytes() == before
