"""Corpora of OpenMIC-2018, IRMAS and the paper: what the tables say, and if they are broken."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from running import run_command
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
from biasmir_utils.datasets import DATASETS, GENRES, INSTRUMENTS, fetch, prepare_paper
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
TEST_SPLIT = "openmic-2018/partitions/split01_test.csv"
IRMAS_LIST = "paper/irmas_test.csv"
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
    """The root that `biasmir fetch` fills from small archives, and published embeddings."""
    folder = tmp_path_factory.mktemp("fetched")
    for name, content in archives.items():
        (folder / name).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        expect(archives, patch)
        fetch(["openmic", "irmas", "paper-split"], folder / "root", from_dir=folder)
    keys = {"irmas": list(IRMAS_NAMES), "openmic": [key for key in TITLES if key != "012346_61440"]}
    write_embedding_file(
        folder / "root" / "paper" / "embeddings.h5",
        "vggish",
        {name: (rows, np.ones((len(rows), 3))) for name, rows in keys.items()},
    )
    return folder / "root"


@pytest.fixture
def root(original_root, tmp_path) -> Path:
    """A copy of that root which a test may spoil."""
    return Path(shutil.copytree(original_root, tmp_path / "root"))


def run(kind: str, root: Path, out: Path, *options: str):
    return CliRunner().invoke(main, ["prepare", kind, "--root", str(root), str(out), *options])


def prepared(kind: str, root: Path, out: Path, *options: str) -> Corpus:
    run_command("prepare", kind, "--root", root, out, *options)
    return Corpus.load(out)


def refused(kind: str, root: Path, out: Path, *options: str) -> str:
    """Run the command, which has to fail with one line and write nothing."""
    done = run(kind, root, out, *options)
    assert done.exit_code == 1, done.output
    assert not (out / "corpus.json").exists()
    assert str(root) in done.stderr
    (line,) = done.stderr.splitlines()
    return line


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def licensed(corpus: Corpus) -> set[str]:
    """The data sets of which a corpus records the licences, as `fetch` states them."""
    stated = [{"what": d.title, "licence": d.licence, "url": d.page} for d in DATASETS.values()]
    found = [list(DATASETS)[stated.index(dict(one))] for one in corpus.description.licences]
    assert len(set(found)) == len(found)
    return set(found)


def test_the_paper_has_the_clips_of_common_genres_and_the_published_embeddings(
    original_root, tmp_path
):
    corpus = prepared("paper", original_root, tmp_path / "out")
    assert corpus.datasets == ["irmas", "openmic"]
    assert corpus.labels == list(INSTRUMENTS)
    assert corpus.clips["group"].notna().all()
    for dataset, n in (("irmas", 11), ("openmic", 4)):
        names = corpus.clips.loc[corpus.clips["dataset"] == dataset, "clip"].tolist()
        assert names == sorted(names)
        assert len(names) == n
    assert corpus.description.provenance["left_out"] == {
        "irmas": {"genre lat_sou": 1},
        "openmic": {"no matching genre": 2},
    }
    # The published file is used where it is, and what the table does not list is counted.
    published = original_root / "paper" / "embeddings.h5"
    assert corpus.embedding_file("vggish", "irmas") == published.resolve()
    assert corpus.n_unlisted("vggish") == 3
    assert corpus.missing("vggish")["clip"].tolist() == ["012346_61440"]
    assert licensed(corpus) == {"openmic", "paper-embeddings", "paper-split"}
    # Or from the audio, without embeddings.
    corpus = prepared("paper", original_root, tmp_path / "sound", "--from-audio")
    assert corpus.embedding_names == []
    assert licensed(corpus) == {"irmas", "openmic", "paper-split"}
    assert all(corpus.audio_path(row).is_file() for row in range(len(corpus.clips)))
    # A corpus that is there is left alone.
    before = (tmp_path / "out" / "clips.parquet").read_bytes()
    done = run("paper", original_root, tmp_path / "out")
    assert "there is a corpus.json already" in done.stderr
    assert (tmp_path / "out" / "clips.parquet").read_bytes() == before


def test_the_licence_is_what_a_record_stated_as_fetch_says_it(root, tmp_path):
    notes = root / "downloads" / "sums.json"
    noted = {"sum": "md5:0", "told_by": "doi:1", "licence": "cc-by-9.9"}
    known = json.loads(notes.read_text()) if notes.is_file() else {}
    notes.write_text(json.dumps({**known, "embeddings.h5": noted}))
    corpus = prepared("paper", root, tmp_path / "out")
    found = {one["what"]: one["licence"] for one in corpus.description.licences}
    expected = {name: DATASETS[name].licence for name in ("openmic", "paper-split")}
    expected["paper-embeddings"] = "cc-by-9.9"
    assert found == {DATASETS[name].title: licence for name, licence in expected.items()}


def test_audio_in_place_is_extracted_and_a_clip_without_is_counted(root, tmp_path):
    (root / "openmic-2018" / "audio" / "000" / "000046_3840.ogg").unlink()
    corpus = prepared("openmic", root, tmp_path / "out")
    assert corpus.audio_path(0) is None
    assert corpus.description.provenance["without_audio"] == {"openmic": 1}
    assert licensed(corpus) == {"openmic"}
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    run_command("extract", tmp_path / "out", "--embedding", "mfcc")
    assert Corpus.load(tmp_path / "out").complete(["mfcc"]).tolist() == [False] + [True] * 5
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_sound_of_a_clip_that_is_left_out_is_not_missed(root, tmp_path):
    (left_out,) = (path for path in root.rglob("*.wav") if "[lat_sou]" in path.name)
    left_out.unlink()
    corpus = prepare_paper(root, tmp_path / "out", from_audio=True)
    assert corpus.description.provenance["without_audio"] == {"irmas": 0, "openmic": 0}


def counted(root: Path, out: Path) -> dict[str, bool]:
    corpus = prepare_paper(root, out, from_audio=True)
    return corpus.description.provenance["counts_as_published"]


def test_the_published_files_have_to_give_the_published_counts(
    archives, root, tmp_path, monkeypatch
):
    """Those that have the sums of the table, and no others."""
    assert counted(root, tmp_path / "a") == {"irmas": False, "openmic": False}
    published = {name: DATASETS[name].counts for name in ("irmas", "openmic")}
    expect(archives, monkeypatch)
    right = {
        "irmas": {"train": 8, "test": 3, "cello": 2, "flute": 1},
        "openmic": {"train": 3, "test": 1, "pop_rock": 2, "jazz_blue": 1, "country_folk": 0},
    }

    def use(dataset: str, **counts: int) -> None:
        monkeypatch.setitem(DATASETS, dataset, replace(DATASETS[dataset], counts=counts))

    for dataset, counts in right.items():
        use(dataset, **counts)
    assert counted(root, tmp_path / "b") == {"irmas": True, "openmic": True}
    for dataset, name in (("irmas", "cello"), ("openmic", "pop_rock")):
        use(dataset, **{**right[dataset], name: 5})
        with pytest.raises(CorpusError, match=f"2 training clips of {name}, expected 5"):
            counted(root, tmp_path / "c")
        use(dataset, **published[dataset])
        with pytest.raises(CorpusError, match=r"clips of train, expected \d\d\d\d"):
            counted(root, tmp_path / "c")
        use(dataset, **right[dataset])
    edit(root / "paper" / "irmas_test.csv", IRMAS_TEST[0] + "\n", "")
    edit(root / "openmic-2018" / "class-map.json", "{", "{ ")
    assert counted(root, tmp_path / "d") == {"irmas": False, "openmic": False}


def test_the_counts_are_those_of_the_protocol(shared):
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


def mirdata_dataset(module, home: Path, tracks: dict[str, dict[str, str]], out: Path):
    """Open a folder with mirdata; its index is itself a download, so one is written here."""
    index = {
        name: {
            kind: [path, hashlib.md5((home / path).read_bytes()).hexdigest()]
            for kind, path in files.items()
        }
        for name, files in tracks.items()
    }
    out.write_text(json.dumps({"version": "sample", "tracks": index}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = module.Dataset(data_home=str(home), version="test")
    dataset.index_path = str(out)
    assert dataset.validate(verbose=False) == ({"tracks": {}}, {"tracks": {}})
    return dataset


def test_openmic_agrees_with_mirdata(original_root, tmp_path):
    from mirdata.datasets import openmic2018

    home = original_root / "openmic-2018"
    tracks = {
        key: {"audio": f"audio/{key[:3]}/{key}.ogg", "vggish": f"vggish/{key[:3]}/{key}.json"}
        for key in TITLES
    }
    dataset = mirdata_dataset(openmic2018, home, tracks, tmp_path / "index.json")
    corpus = prepared("openmic", original_root, tmp_path / "out")
    assert (corpus.datasets, corpus.labels) == (["openmic"], OPENMIC_CLASSES)
    assert corpus.description.provenance["without_group"] == {"openmic": {"no matching genre": 2}}
    assert corpus.clips["clip"].tolist() == sorted(dataset.track_ids)
    assert not Path(corpus.clips["audio"][0]).is_absolute()
    for row, clip in corpus.clips.iterrows():
        track = dataset.track(clip["clip"])
        assert corpus.audio_path(row).resolve() == Path(track.audio_path)
        assert clip["track"] == clip["clip"][:6]
        assert f"split01_{clip['split']}" == track.split
        assert clip[OPENMIC_CLASSES].dropna().to_dict() == track.instruments
        assert clip["start_time"] == track.start_time
        assert (clip["artist"], clip["title"]) == (track.artist, track.title)
        # mirdata fails on a clip without genres, which its own sample has none of.
        if TITLES[clip["clip"]]:
            assert clip["genres"].split("; ") == track.genres


def test_irmas_agrees_with_mirdata(original_root, tmp_path):
    from mirdata.datasets import irmas

    tracks = {}
    for name in IRMAS_NAMES:
        code = name[name.index("[") + 1 : name.index("]")]
        tracks[name] = dict.fromkeys(
            ("audio", "annotation"), f"IRMAS-TrainingData/{code}/{name}.wav"
        )
    dataset = mirdata_dataset(irmas, original_root, tracks, tmp_path / "index.json")
    corpus = prepared("irmas", original_root, tmp_path / "out")
    assert corpus.labels == list(INSTRUMENTS)
    assert licensed(corpus) == {"irmas", "paper-split"}
    assert (corpus.clips[list(INSTRUMENTS)].sum(axis=1) == 1).all()
    assert corpus.clips["clip"].tolist() == sorted(dataset.track_ids)
    for row, clip in corpus.clips.iterrows():
        track = dataset.track(clip["clip"])
        assert corpus.audio_path(row).resolve() == Path(track.audio_path)
        assert (clip["split"] == "test") == (clip["clip"] in IRMAS_TEST)
        assert track.instrument == [clip["instrument_code"]]
        assert clip[INSTRUMENT_CODES[track.instrument[0]]] == 1
        assert clip["genre_code"] == track.genre
        group = next((g for g, code in GENRE_CODES.items() if code == track.genre), None)
        assert group == (None if pd.isna(clip["group"]) else clip["group"])
        assert track.drum == (None if pd.isna(clip["drums"]) else clip["drums"] == "yes")


def with_genres(root: Path, cells: list[str]) -> Path:
    """Let the metadata of OpenMIC-2018 be clips with these cells of genres."""
    keys = [f"{i:06d}_0" for i in range(len(cells))]
    with open(root / METADATA, "w", newline="") as file:
        csv.writer(file).writerows([["track_genres", "sample_key"], *zip(cells, keys, strict=True)])
    (root / LABELS).write_text(f"sample_key,instrument,relevance\n{keys[0]},piano,1\n")
    (root / "openmic-2018/partitions/split01_train.csv").write_text("\n".join(keys))
    (root / "openmic-2018/partitions/split01_test.csv").write_text("")
    (root / f"openmic-2018/audio/000/{keys[0]}.ogg").write_bytes(b"")
    return root


def test_the_first_title_that_names_a_genre_decides(root, tmp_path):
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
    corpus = prepared("openmic", with_genres(root, [*cells, ""]), tmp_path / "out")
    found = [None if pd.isna(group) else group for group in corpus.clips["group"]]
    assert found == [*expected.values(), None]


@pytest.mark.parametrize(
    "cell",
    ["__import__('os').getcwd()", "{'genre_title': 'Rock'}", "[1]", "[{'genre_title': 3}]", "["],
)
def test_a_genre_cell_is_a_literal_list_and_nothing_else(cell, root, tmp_path):
    told = refused("openmic", with_genres(root, ["[]", cell]), tmp_path / "out")
    assert "metadata.csv, line 3, clip '000001_0': the column 'track_genres' cannot be" in told


@pytest.mark.parametrize("key", ["../../../etc", "a/b", "a\\b", "..", "/x"])
def test_a_sample_key_that_climbs_is_refused(key, root, tmp_path):
    edit(root / METADATA, "155320_30720", key)
    told = refused("openmic", root, tmp_path / "out")
    assert f"no name that a file can have ({key!r})" in told
    assert re.search(r"metadata.csv, line \d:", told)


@pytest.mark.parametrize("name", [TEST_SPLIT, IRMAS_LIST, LABELS, "openmic-2018/class-map.json"])
def test_what_is_not_utf8_is_named_by_line(name, root, tmp_path):
    text = (root / name).read_bytes()
    (root / name).write_bytes(text + b"\ncaf\xe9\n")
    line = 2 + text.count(b"\n")
    assert f"{Path(name).name}, line {line}: not UTF-8" in refused("paper", root, tmp_path / "out")


def test_a_track_is_what_stands_before_the_last_two_underscores(root, tmp_path):
    name = "a__b[sax][jaz_blu]1__3"
    (root / "paper" / "irmas_test.csv").write_text(f"{name}\n")
    clip = prepare_paper(root, tmp_path / "out").clips.set_index("clip").loc[name]
    assert (clip["track"], clip["group"]) == ("a__b[sax][jaz_blu]1", "jazz_blue")
    assert clip["saxophone"] == 1


def test_what_was_never_checked_is_said_wherever_the_corpus_is_looked_at(root, tmp_path):
    out = tmp_path / "out"
    assert prepare_paper(root, tmp_path / "checked").warnings == []
    # As `fetch` leaves it. Of an archive, every file that was unpacked from it counts; and what is
    # not used does not matter.
    sums = {
        "embeddings.h5": {"sum": "sha256:beef", "became": "paper/embeddings.h5"},
        "openmic.tgz": {"sum": "md5:0d15", "became": "openmic-2018"},
        "yamnet.tgz": {"sum": "md5:5eed", "became": "models/yamnet"},
    }
    (root / "downloads" / "sums.json").write_text(
        json.dumps({name: {**entry, "unchecked": True} for name, entry in sums.items()})
    )
    told = run_command("prepare", "paper", "--root", root, out)
    corpus = Corpus.load(out)
    assert corpus.description.unchecked == {
        "paper/embeddings.h5": "sha256:beef",
        "openmic-2018": "md5:0d15",
    }
    later = run_command("info", out)
    corrected = correct_corpus(corpus, "center", tmp_path / "corrected").summary()
    for text in (told, later, corrected):
        assert "paper/embeddings.h5 was UNCHECKED when this corpus was made" in text
        assert "openmic-2018 was UNCHECKED" in text
        assert "models/yamnet" not in text


def test_prepare_paper_on_the_oracle(shared, tmp_path):
    corpus = prepared("paper", shared / "oracle" / "a", tmp_path / "corpus")
    counts = corpus.clips.groupby(["dataset", "split"]).size()
    assert counts.to_dict() == {
        ("irmas", "test"): 400,
        ("irmas", "train"): 1187,
        ("openmic", "test"): 515,
        ("openmic", "train"): 1509,
    }
    assert "vggish" in corpus.embedding_names
    assert corpus.warnings == []
    for _, part in corpus.clips.groupby("dataset"):
        assert part["clip"].is_monotonic_increasing


BROKEN = [
    (METADATA, "track_genres", "genres", "column 'track_genres' is missing"),
    (METADATA, "012345_0", "000046_3840", "line 5: a clip that stood above ('000046_3840')"),
    (METADATA, "'genre_title': 'Noise'", "oops", "line 4, clip '000139_119040'"),
    (LABELS, "0.17105", "1.25", "line 2: a relevance that is not in [0, 1] ('000046_3840', 'clar"),
    (LABELS, "0.17105", "high", "line 2: a relevance that is not in [0, 1]"),
    (LABELS, "drums", "kazoo", "line 4: a class that class-map.json has not"),
    (LABELS, "012345_0", "000008_300", "line 6: an unknown clip"),
    (LABELS, "000046_3840,flute", "000046_3840,clarinet", "line 3: a clip and class that stood"),
    ("openmic-2018/class-map.json", '"cello"', '"celli"', "class 'cello' is missing"),
    ("openmic-2018/class-map.json", "{", "[", "expected a JSON object"),
    (TEST_SPLIT, "012345_0", "", "1 clip(s) of openmic-2018-metadata.csv are in neither"),
    (TEST_SPLIT, "012345_0", "000046_3840", "line 1: the clip '000046_3840' is in train as well"),
    (IRMAS_LIST, IRMAS_TEST[1], "no brackets__1", "irmas_test.csv, line 3: not of the form"),
    (IRMAS_LIST, IRMAS_TEST[1], "[cel][cla]without a number", "line 3: not of the form 043__"),
    (IRMAS_LIST, "[gel]", "[gut]", "gel, org, pia, sax, tru, vio, voi ('008__[gut]"),
    (IRMAS_LIST, "[jaz_blu]", "[metal]", "line 3: the genre is none of pop_roc, jaz_blu, cla"),
    (IRMAS_LIST, IRMAS_TEST[1], IRMAS_NAMES[0], "line 3: a clip of the other list"),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), BROKEN)
def test_a_broken_table_is_named_with_its_row(root, tmp_path, file, old, new, told):
    edit(root / file, old, new)
    assert told in refused("paper", root, tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "file", "told"),
    [
        ("openmic", "openmic-2018/audio", "no audio of openmic; run `biasmir fetch openmic`"),
        ("irmas", "IRMAS-TrainingData", "no audio of irmas; run `biasmir fetch irmas`"),
        ("irmas", IRMAS_LIST, "irmas_test.csv: no such file; .*`biasmir fetch paper-split`"),
        ("paper", "paper/embeddings.h5", "no such file; .*`biasmir fetch paper-embeddings`"),
        ("paper", METADATA, "no such file; .*`biasmir fetch openmic`"),
        ("paper", LABELS, "no such file; .*`biasmir fetch openmic`"),
        ("openmic", "openmic-2018/class-map.json", "no such file; .*`biasmir fetch openmic`"),
        ("paper", TEST_SPLIT, "no such file; .*`biasmir fetch openmic`"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_brings_it(kind, file, told, root, tmp_path):
    (root / file).rename(tmp_path / "away")
    assert re.search(told, refused(kind, root, tmp_path / "out"))


def test_audio_that_does_not_fit_the_split_and_an_empty_list(root, tmp_path):
    folder = root / "IRMAS-TrainingData"
    for name, told in (
        ("cel/[cel][cla]9999__1.wav", "in neither"),
        (f"cla/{IRMAS_NAMES[0]}.wav", "the same clip is in"),
    ):
        (folder / name).write_bytes(tone())
        assert told in refused("irmas", root, tmp_path / "out")
        (folder / name).unlink()
    (root / IRMAS_LIST).write_text("\n")
    assert "the list is empty" in refused("irmas", root, tmp_path / "out")
