"""The corpus of the paper: genre matching, clip names, the tables, and what they say if broken."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import correct_corpus
from biasmir_utils.datasets import GENRES, INSTRUMENTS, prepare_paper
from biasmir_utils.datasets.genres import match_genre, words
from biasmir_utils.datasets.irmas_tables import parse_clip_name, read_irmas
from biasmir_utils.datasets.openmic_tables import parse_genre_titles
from biasmir_utils.datasets.records import Records
from biasmir_utils.errors import CorpusError

GENRE_WORDS = {
    "pop": "pop_rock",
    "rock": "pop_rock",
    "jazz": "jazz_blue",
    "blue": "jazz_blue",
    "classical": "classical",
    "country": "country_folk",
    "folk": "country_folk",
}
OTHER_WORDS = ("blues", "rocks", "popular", "ambient", "electronic", "hip", "hop", "soul")
SEPARATORS = st.text(alphabet=" -_/&.,0123456789", min_size=1, max_size=3)


@st.composite
def titles(draw):
    """A genre title, and the words it was made of."""
    parts = draw(st.lists(st.sampled_from([*GENRE_WORDS, *OTHER_WORDS]), max_size=4))
    text = draw(st.sampled_from(["", " ", "20th "]))
    for part in parts:
        text += draw(st.sampled_from([str.upper, str.title, str.lower]))(part) + draw(SEPARATORS)
    return text, parts


@given(st.lists(titles(), max_size=4))
@example([("Blues", ["blues"])])
@example([("Free-Jazz", ["free", "jazz"])])
def test_the_first_title_that_names_a_genre_decides(drawn):
    expected = None
    for _, parts in drawn:
        named = {GENRE_WORDS[part] for part in parts if part in GENRE_WORDS}
        if named:
            expected = min(named, key=GENRES.index)
            break
    assert match_genre([text for text, _ in drawn]) == expected


@pytest.mark.parametrize(
    ("found", "genre"),
    [
        (["Power-Pop"], "pop_rock"),
        (["Blues"], None),
        (["Hip-Hop", "Experimental"], None),
        (["20th Century Classical"], "classical"),
        (["Electronic", "Country"], "country_folk"),
        (["Folk", "Rock"], "country_folk"),
        (["Folk Rock"], "pop_rock"),
        ([], None),
    ],
)
def test_titles_of_the_free_music_archive(found, genre):
    assert match_genre(found) == genre


def test_words_are_parted_by_whatever_is_not_a_letter():
    assert words("Jazz/Blue_2-Step") == {"jazz", "blue", "step"}


@given(
    st.sampled_from(["cel", "gac", "gel", "voi"]),
    st.sampled_from(["pop_roc", "cla", "lat_sou"]),
    st.from_regex(r"[a-zA-Z0-9 ,.'()&-]{1,12}", fullmatch=True),
    st.integers(1, 99),
)
def test_a_clip_name_tells_instrument_genre_and_track(instrument, genre, start, number):
    track = f"{start}[{instrument}][dru][{genre}]0003"
    parts = parse_clip_name(f"{track}__{number}")
    assert parts["track"] == track
    assert parts["genre_code"] == genre
    assert parts["instrument"] == {"cel": "cello", "voi": "voice"}.get(instrument, "guitar")


def test_two_underscores_inside_a_track_stay():
    assert parse_clip_name("a__b[sax][jaz_blu]1__3")["track"] == "a__b[sax][jaz_blu]1"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no brackets__1", "not of the form"),
        ("[cel][cla]without a number", "not of the form"),
        ("[xyz][cla]0001__1", "instrument 'xyz'"),
        ("[cel][metal]0001__1", "genre 'metal'"),
    ],
)
def test_a_clip_name_that_cannot_be_read(name, told):
    with pytest.raises(CorpusError, match=told):
        parse_clip_name(name)


@pytest.mark.parametrize(
    "cell",
    ["__import__('os').getcwd()", "{'genre_title': 'Rock'}", "[1]", "[{'genre_title': 3}]", "["],
)
def test_a_genre_cell_is_a_literal_list_and_nothing_else(cell):
    with pytest.raises(ValueError, match=r"it is not|no text"):
        parse_genre_titles(cell)


def test_genre_cells():
    assert parse_genre_titles("[{'genre_id': '1', 'genre_title': 'Rock'}]") == ["Rock"]
    assert parse_genre_titles("") == []
    assert parse_genre_titles(float("nan")) == []


def small_root(folder: Path) -> Path:
    """A handful of clips in the layout of the real files."""
    from biasmir_utils.corpus import write_embedding_file

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
    import numpy as np

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


def test_what_was_never_checked_is_said_wherever_the_corpus_is_looked_at(tmp_path):
    root, out = small_root(tmp_path / "root"), tmp_path / "out"
    checked = prepare_paper(root, tmp_path / "checked")
    assert checked.description.unchecked == {}
    assert checked.warnings == []
    records = Records(root / "downloads")
    records.record_unchecked("embeddings.h5", "sha256:beef", "paper/embeddings.h5")
    # Of an archive, every file that was unpacked from it; and what is not used does not matter.
    records.record_unchecked("openmic.tgz", "md5:0d15", "openmic-2018")
    records.record_unchecked("yamnet.tgz", "md5:5eed", "models/yamnet")
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


METADATA = "openmic-2018/openmic-2018-metadata.csv"
LABELS = "openmic-2018/openmic-2018-aggregated-labels.csv"


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (METADATA, "track_genres", "genres", "column 'track_genres' is missing"),
        (METADATA, "000009_300,300", "000007_100,300", "row 3: the clip '000007_100' is there"),
        (METADATA, "[{'genre_id': '1', 'genre_title': 'Folk'}]", "[oops", "row 3, clip '000009_3"),
        (LABELS, "0.25", "1.25", r"row 3: a relevance that is not in \[0, 1\]"),
        (LABELS, "0.25", "high", r"row 3: a relevance that is not in \[0, 1\]"),
        (LABELS, "banjo", "kazoo", "row 2: a class that class-map.json has not"),
        (LABELS, "000009_300,cello", "000008_300,cello", "row 4: an unknown clip"),
        (LABELS, "000009_300,cello", "000009_300,piano", "row 4: a clip and class that stood"),
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
        ("paper/irmas_test.csv", "[gac]", "[gut]", "irmas_test.csv: .* instrument 'gut'"),
        (
            "paper/irmas_test.csv",
            "002__[gac][nod][cla]0002__1",
            "001__[gel][dru][pop_roc]0001__1",
            "is in .*irmas_train.csv as well",
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
        read_irmas(root / "paper/irmas_train.csv", root / "paper/irmas_test.csv", INSTRUMENTS)


def test_a_folder_that_holds_a_corpus_is_not_overwritten(tmp_path):
    root = small_root(tmp_path / "root")
    prepare_paper(root, tmp_path / "out")
    before = (tmp_path / "out" / "clips.parquet").read_bytes()
    shutil.rmtree(root / "openmic-2018" / "partitions")
    with pytest.raises(CorpusError):
        prepare_paper(root, tmp_path / "out")
    assert (tmp_path / "out" / "clips.parquet").read_bytes() == before
