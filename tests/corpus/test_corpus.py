"""The corpus on disk: what it answers, and what it says of each kind of bad input."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
import subprocess
import sys
import time
import unicodedata
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings, strategies as st

from biasmir_utils.corpus import (
    Corpus,
    CorpusWriter,
    EmbeddingFile,
    Target,
    as_numbers,
    as_texts,
    write_embedding_file,
)
from biasmir_utils.corrections import moments_of_corpus
from biasmir_utils.errors import ArgumentError, CorpusError, LockedError
from biasmir_utils.experiments import group_counts


def edit_description(folder: Path, **changes: object) -> None:
    path = folder / "corpus.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_clips(folder: Path, row: int, column: str, value: object) -> None:
    table = pd.read_parquet(folder / "clips.parquet")
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    (folder / "clips.parquet").unlink()
    table.to_csv(folder / "clips.csv", index=False)


def message(folder: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        Corpus.load(folder)
    return str(caught.value)


def test_a_loaded_corpus_answers(corpus):
    assert corpus.datasets == ["alpha", "beta"]
    assert corpus.groups == ["rock", "jazz", "folk"]
    assert corpus.labels == ["piano", "voice"]
    assert [(t.name, t.kind) for t in corpus.targets][2:] == [
        ("era", "category"),
        ("tempo", "number"),
    ]
    assert corpus.embedding_names == ["toy", "toy2"]
    assert corpus.dimension("toy2") == 12
    assert corpus.embedding("toy").shape == (240, 8)
    assert corpus.embedding("toy").dtype == np.float32
    assert corpus.model_record("toy2") == {"source": "tests"}
    assert corpus.model_record("toy") == {}
    assert corpus.warnings == []
    assert corpus.audio_path(0) is None


def test_an_embedding_is_the_mean_over_frames_in_the_order_of_the_table(corpus):
    means = corpus.embedding("toy")
    for row in (0, 17, 130, 239):
        clip = corpus.clips.iloc[row]
        frames = corpus.frames("toy", clip["dataset"], clip["clip"])
        assert frames.shape == (2, 8)
        np.testing.assert_allclose(means[row], frames.mean(axis=0), rtol=1e-6, atol=1e-7)


def test_clips_without_an_embedding_are_recorded_with_the_reason(corpus):
    missing = corpus.missing("toy2")
    assert missing.values.tolist() == [
        ["beta", "b0118", "not in the embedding file"],
        ["beta", "b0119", "too short"],
    ]
    assert corpus.complete(["toy"]).all()
    assert corpus.complete(["toy", "toy2"]).sum() == 238
    assert np.isnan(corpus.embedding("toy2")[-1]).all()


def test_clips_that_the_table_does_not_list_are_counted(tiny_corpus):
    table = pd.read_parquet(tiny_corpus / "clips.parquet").iloc[3:]
    table.to_parquet(tiny_corpus / "clips.parquet")
    corpus = Corpus.load(tiny_corpus)
    assert corpus.n_unlisted("toy") == 3
    assert "not in the table" in corpus.summary()


def test_csv_and_parquet_are_read_alike(tiny_corpus, corpus):
    (tiny_corpus / "clips.parquet").unlink()
    corpus.clips.to_csv(tiny_corpus / "clips.csv", index=False)
    pd.testing.assert_frame_equal(Corpus.load(tiny_corpus).clips, corpus.clips)


def test_names_that_look_like_numbers_or_nothing_survive_a_csv(tmp_path):
    table = pd.DataFrame(
        {"dataset": "d", "clip": ["007", "None", "1e5"], "split": "train", "group": ["NA"] * 3}
    )
    writer = CorpusWriter(tmp_path, name="n", title="N", datasets=["d"], groups=["NA"], targets=[])
    written = writer.write(table).clips
    written.to_csv(tmp_path / "clips.csv", index=False)
    (tmp_path / "clips.parquet").unlink()
    clips = Corpus.load(tmp_path).clips
    pd.testing.assert_frame_equal(clips, written)
    assert clips["clip"].tolist() == clips["track"].tolist() == ["007", "None", "1e5"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" a b\u00a0", "a b"),
        ("Cafe\u0301", "Caf\u00e9"),
        (b"Caf\xc3\xa9", "Caf\u00e9"),
        ("007", "007"),
        (7, "7"),
        (7.0, "7"),
        (np.float32(7), "7"),
        (7.5, "7.5"),
        (2.0**53 - 1, "9007199254740991"),
        ("\u00a0 ", None),
        (pd.NaT, None),
    ],
)
def test_a_cell_is_one_text(cell, text):
    found = as_texts(pd.Series([cell], dtype=object))[0]
    assert found == text or (text is None and pd.isna(found))


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (b"Caf\xe9", "decode byte 0xe9"),
        ("\ud800", "surrogates not allowed"),
        ("a\0", "NUL"),
        (["a"], "is a list, expected one text"),
        ({"a": 1}, "is a dict"),
        (2.0**53, "too large to be exact as a float; store it as a text"),
        (np.float32(2**24), "too large to be exact"),
    ],
)
def test_a_cell_that_is_no_text_is_named(cell, why):
    column = pd.Series(["first", cell], name="clip", dtype=object)
    where = r"t\.csv, row 2 \(counting from 1\), column 'clip': .*"
    with pytest.raises(CorpusError, match=where + why):
        as_texts(column, "t.csv")


@pytest.mark.parametrize(
    ("cell", "number"),
    [(" 0.5\u00a0", 0.5), (" ", None), ("TRUE", 1), (np.bool_(False), 0), (Decimal("0.1"), 0.1)]
    + [(cell, "wrong") for cell in ("x", [1], pd.Timestamp(0), pd.Timedelta(1), 1j, np.inf)]
    + [(pd.Period("2020"), "wrong"), (pd.NaT, None), (None, None)],
)
def test_a_cell_is_a_number_nothing_or_wrong(cell, number):
    values, wrong = as_numbers(pd.Series([cell, 1.0], dtype=object))
    assert wrong.tolist() == [number == "wrong", False]
    assert values[0] == number or (number in (None, "wrong") and not np.isfinite(values[0]))


def test_dates_are_no_numbers_and_a_missing_one_is_missing():
    values, wrong = as_numbers(pd.Series(pd.to_datetime(["2020-01-01", None])))
    assert values.isna().all()
    assert wrong.tolist() == [True, False]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_blanks_and_forms_of_unicode_make_no_second_name(tiny_corpus, corpus, suffix):
    table = pd.read_parquet(tiny_corpus / "clips.parquet").astype({"piano": object})
    (tiny_corpus / "clips.parquet").unlink()
    for name in ("dataset", "clip", "track", "split", "group"):
        table[name] = [
            f" {x}\u00a0" if isinstance(x, str) and i % 3 else x for i, x in enumerate(table[name])
        ]
    table = table.rename(columns={"voice": " voice\u00a0"})
    if suffix == "csv":
        table["piano"] = [f"\u00a0{x} " for x in table["piano"]]
        table.to_csv(tiny_corpus / "clips.csv", index=False)
    else:
        table.to_parquet(tiny_corpus / "clips.parquet")
    pd.testing.assert_frame_equal(Corpus.load(tiny_corpus).clips, corpus.clips)


def test_summary_names_counts_gaps_and_warnings(tiny_corpus):
    edit_clips(tiny_corpus, 1, "split", "test")  # its track's other clip stays in train
    text = Corpus.load(tiny_corpus).summary()
    assert "1 track(s) have clips in both train and test" in text
    assert "'t0000' of 'alpha'" in text
    assert "1 x too short" in text
    assert "tempo (number, bpm): 240 clips" in text
    assert "(none)" in text


def test_what_is_missing_is_listed_by_kind_with_its_range(tiny_corpus, corpus):
    clips = corpus.clips.loc[corpus.clips["dataset"] == "alpha", "clip"].tolist()
    reasons = [f"too short: {i / 8:.3f} s" for i in range(8)] + ["no such file: 7.wav"]
    skipped = {"alpha": dict(zip(clips, reasons, strict=False))}
    content = {"alpha": (clips[9:], np.ones((len(clips) - 9, 2)))}
    write_embedding_file(tiny_corpus / "e.h5", "e", content, skipped=skipped)
    text = corpus.add_embedding_file(tiny_corpus / "e.h5").summary()
    assert "  8 x too short: 0.000 to 0.875 s\n  1 x no such file: 7.wav\n" in text


def test_a_group_called_none_is_not_the_lack_of_one(tiny_corpus):
    about = json.loads((tiny_corpus / "corpus.json").read_text())
    about["groups"][0] = "(none)"
    (tiny_corpus / "corpus.json").write_text(json.dumps(about))
    table = pd.read_parquet(tiny_corpus / "clips.parquet").replace({"group": {"rock": "(none)"}})
    table.to_parquet(tiny_corpus / "clips.parquet", index=False)
    corpus = Corpus.load(tiny_corpus)
    counts = group_counts(corpus, split=None)
    assert counts.index.tolist() == ["(none)", "jazz", "folk", "((none))"]
    assert counts.loc["((none))"].sum() == table["group"].isna().sum()
    assert re.search(r"\n  \(none\) .*\n(  .*\n)*  \(\(none\)\) ", corpus.summary())


def test_who_waits_for_another_process_in_vain_is_told(tiny_corpus, monkeypatch):
    corpus = Corpus.load(tiny_corpus)
    monkeypatch.setattr(time, "monotonic", itertools.count(0, 100).__next__)
    with open(tiny_corpus / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match=r"\.lock: another process .* 60 s; try again when"):
            corpus.add_embedding_file(tiny_corpus / "embeddings" / "toy.h5")


def test_a_lock_that_cannot_be_looked_at_is_not_taken_for_a_file_system_without_locks(
    tiny_corpus, monkeypatch
):
    real = os.stat

    def stale(path, **options):
        if str(path).endswith(".lock"):
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return real(path, **options)

    corpus = Corpus.load(tiny_corpus)
    monkeypatch.setattr(os, "stat", stale)
    with pytest.raises(OSError, match="Stale file handle"):
        corpus.add_embedding_file(tiny_corpus / "embeddings" / "toy.h5")


def test_a_folder_that_is_no_corpus(tmp_path):
    assert "no such folder" in message(tmp_path / "absent")
    assert "it has no corpus.json" in message(tmp_path)
    for text, expected in {
        "{": "Expecting",
        '{"a": 1, "a": 2}': "the key 'a' is there twice",
    }.items():
        (tmp_path / "corpus.json").write_text(text)
        assert f"corpus.json: not valid JSON ({expected}" in message(tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": "something"}, '"format": "biasmir-corpus"'),
        ({"format_version": 99}, "format version 99 is unknown"),
        ({"name": ""}, '"name" must be a non-empty text'),
        ({"datasets": []}, '"datasets" is empty'),
        ({"datasets": ["alpha", "alpha"]}, "names 'alpha' more than once"),
        ({"datasets": ["alpha", "x/y"]}, "dataset 'x/y' cannot be part of a path"),
        ({"datasets": "alpha"}, '"datasets" must be a list'),
        ({"groups": [None]}, '"groups" must hold non-empty texts'),
        ({"groups": [["rock"]]}, "is a list, expected one text"),
        ({"groups": ["rock ", "rock"]}, "names 'rock' more than once"),
        ({"provenance": {"share": np.nan}}, "corpus.json: not valid JSON (Out of range float"),
        ({"targets": [{"name": "piano", "kind": "tag"}]}, "has kind 'tag'"),
        ({"targets": ["piano"]}, 'holds objects with "name"'),
        ({"embedding_files": ["a.h5"]}, 'holds objects with "path"'),
        ({"embedding_models": {"toy": "x"}}, "\"embedding_models\" holds objects, found 'x'"),
        ({"provenance": 3}, '"provenance" must be an object'),
        ({"embedding_files": [{"path": "gone.h5"}]}, "gone.h5: no such embedding file"),
        ({"targets": [{"name": "drums", "kind": "label"}]}, "the column 'drums' is missing"),
    ],
)
def test_a_broken_description_is_named(tiny_corpus, changes, expected):
    edit_description(tiny_corpus, **changes)
    assert expected in message(tiny_corpus)


@pytest.mark.parametrize(
    ("row", "column", "value", "expected"),
    [
        (5, "piano", 1.5, "line 7 (dataset 'alpha', clip 'a0005'): column 'piano' is 1.5"),
        (5, "piano", -0.1, "expected a likelihood in [0, 1]"),
        (5, "piano", "yes", "column 'piano' is 'yes'"),
        (130, "tempo", np.inf, "line 132 (dataset 'beta', clip 'b0010'): column 'tempo'"),
        (4, "clip", "a0003", "dataset 'alpha' has the clip 'a0003' twice"),
        (4, "clip", None, "line 6: the column 'clip' is empty"),
        (4, "dataset", "gamma", "expected one of alpha, beta"),
        (4, "split", "valid", "expected one of train, test"),
        (4, "group", "polka", "expected one of rock, jazz, folk"),
    ],
)
def test_a_broken_cell_is_named(tiny_corpus, row, column, value, expected):
    edit_clips(tiny_corpus, row, column, value)
    text = message(tiny_corpus)
    assert expected in text
    assert "clips.csv" in text


def test_a_row_is_told_as_a_person_finds_it(tiny_corpus):
    """In CSV by its line, with cells and empty lines as a text editor shows them."""
    path = tiny_corpus / "clips.parquet"
    table = pd.read_parquet(path)
    table.loc[4, "split"] = "valid"
    table.to_parquet(path, index=False)
    assert "clips.parquet, row 5 (counting from 1) (dataset 'alpha'" in message(tiny_corpus)
    path.unlink()
    table["remark"] = ["two\nlines", "x" * 200_000, *[""] * (len(table) - 2)]
    header, *lines = table.to_csv(index=False).splitlines()
    for blank in ("", " \t "):
        text = "\n".join([header, *lines[:3], blank, *lines[3:]])
        (tiny_corpus / "clips.csv").write_text(text + "\n", encoding="utf-8")
        place = 1 + next(n for n, line in enumerate(text.splitlines()) if ",valid," in line)
        assert f"clips.csv, line {place} (dataset 'alpha', clip 'a0004')" in message(tiny_corpus)


def test_a_missing_column_a_missing_table_two_tables_and_an_empty_one(tiny_corpus):
    path = tiny_corpus / "clips.parquet"
    table = pd.read_parquet(path)
    table.drop(columns="split").to_parquet(path)
    assert "the column 'split' is missing" in message(tiny_corpus)
    table.iloc[:0].to_parquet(path)
    assert "the table has no rows" in message(tiny_corpus)
    table.to_csv(tiny_corpus / "clips.csv")
    assert "keep one of them" in message(tiny_corpus)
    (tiny_corpus / "clips.csv").unlink()
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    damaged = content[:footer] + b"\xff" * 9 + content[footer + 9 :]  # told in several lines
    for broken in (b"PAR1 nothing", damaged):
        path.write_bytes(broken)
        assert "cannot be read as a table" in message(tiny_corpus)
        assert "\n" not in message(tiny_corpus)
    path.unlink()
    assert "no clip table" in message(tiny_corpus)


def test_a_truncated_embedding_file(tiny_corpus):
    path = tiny_corpus / "embeddings" / "toy.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "toy.h5: not a readable HDF5 file, perhaps truncated" in message(tiny_corpus)


def not_whole(file: h5py.File, name: str, folder: Path) -> None:
    """Replace an array by one whose numbers are elsewhere, or nowhere."""
    array = file[name][()]
    del file[name]
    about = {"shape": array.shape, "dtype": array.dtype}
    if "external" in folder.name:
        array.tofile(folder / "raw")
        file.create_dataset(name, **about, external=[(str(folder / "raw"), 0, h5py.h5f.UNLIMITED)])
    elif "virtual" in folder.name or "linked" in folder.name:
        with h5py.File(folder / "other.h5", "w") as other:
            other["x"] = array
        if "linked" in folder.name:
            file[name] = h5py.ExternalLink(str(folder / "other.h5"), "x")
        else:
            layout = h5py.VirtualLayout(**about)
            layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", shape=array.shape)
            file.create_virtual_dataset(name, layout)
    elif "filter" in folder.name:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((7,) * array.ndim)
        plist.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
        space, kind = h5py.h5s.create_simple(array.shape), h5py.h5t.py_create(array.dtype)
        h5py.h5d.create(file.id, name.encode(), kind, space, plist)
    else:
        empty = file.create_dataset(name, **about, chunks=(7,) * array.ndim)
        if "part" in folder.name:
            empty[:8] = array[:8]


@pytest.mark.parametrize("name", ["alpha/toy/features", "beta/toy/keys"])
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("external", "lies in other files"),
        ("virtual", "lies in other files"),
        ("linked", "is a link"),
        ("nothing", "was never written|never written"),
        ("part", "never written"),
        ("filter", "filter 32001"),
    ],
)
def test_what_is_read_lies_in_the_embedding_file(tiny_corpus, tmp_path, name, how, expected):
    (tmp_path / how).mkdir()
    with h5py.File(tiny_corpus / "embeddings" / "toy.h5", "r+") as file:
        not_whole(file, name, tmp_path / how)
    text = message(tiny_corpus)
    assert f"toy.h5: /{name} " in text
    assert re.search(expected, text)


def test_keys_match_in_any_type_and_form(tmp_path):
    clips = {"dataset": "caf\u00e9", "clip": ["Dvo\u0159\u00e1k", "7"], "split": "train"}
    about = ABOUT | {"datasets": ["caf\u00e9"], "targets": []}
    corpus = CorpusWriter(tmp_path, **about).write(pd.DataFrame(clips))
    decomposed = unicodedata.normalize("NFD", "caf\u00e9")
    for number, keys in enumerate(
        (
            [unicodedata.normalize("NFD", "Dvo\u0159\u00e1k").encode(), b" 7\xc2\xa0"],
            np.array(["Dvo\u0159\u00e1k", "7"], object),
            np.array([5, 7]),
        )
    ):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file[f"{decomposed}/e{number}/features"] = [[1.0], [2.0]]
            file[f"{decomposed}/e{number}/keys"] = keys
        corpus = corpus.add_embedding_file(tmp_path / f"{number}.h5")
        assert corpus.embedding(f"e{number}")[1] == 2
        assert corpus.frames(f"e{number}", "caf\u00e9", "7").tolist() == [[2.0]]
        assert moments_of_corpus(corpus, f"e{number}").count == 1 + (number < 2)
    for dataset, keys, expected in (
        ("caf\u00e9", [b"caf\xe9", b"7"], r"row 1 .*can't decode byte"),
        ("caf\u00e9", [b"some", b"other"], "none of the 2 keys is a clip of"),
        ("other", [b"7", b"7"], "no embedding of caf\u00e9"),
    ):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file[f"{dataset}/x/features"] = [[1.0], [2.0]]
            file[f"{dataset}/x/keys"] = keys
        with pytest.raises(CorpusError, match=expected):
            corpus.add_embedding_file(tmp_path / "x.h5")
    assert Corpus.load(tmp_path).embedding_names == ["e0", "e1", "e2"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
@pytest.mark.parametrize("limit", [0, 1000, 30_000, 44_000])
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, limit):
    code = f"""
import resource, sys
import numpy as np
from pathlib import Path
from biasmir_utils.corpus import write_embedding_file
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
X = np.random.default_rng(0).normal(size=(1000, 10))
try:
    write_embedding_file(Path("e.h5"), "e", {{"d": ([str(i) for i in range(1000)], X)}})
except OSError as error:
    sys.exit(f"{{error}}")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stderr=-1, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"\[Errno \d+\] [\w ]+: 'e.h5'\n", done.stderr)
    assert not list(tmp_path.iterdir())


def test_embedding_files_of_the_wrong_shape(tiny_corpus):
    path = tiny_corpus / "embeddings" / "toy.h5"
    with h5py.File(path, "r+") as file:
        del file["beta/toy/keys"]
    assert "/beta/toy: expected the datasets 'features' and 'keys'" in message(tiny_corpus)
    with h5py.File(path, "r+") as file:
        file["beta/toy/keys"] = np.array([b"b0000"])
    assert "240 rows of features but keys of shape (1,)" in message(tiny_corpus)
    with h5py.File(path, "r+") as file:
        del file["beta/toy/features"]
        file["beta/toy/features"] = np.zeros((1, 9), np.float32)
    assert "has 9 dimensions, but 8 in another dataset" in message(tiny_corpus)
    with h5py.File(path, "r+") as file:
        del file["beta/toy/features"]
        file["beta/toy/features"] = np.zeros(1, np.float32)
    assert "expected floats, rows x dimensions" in message(tiny_corpus)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_name_file_dataset_and_clip(tiny_corpus, value):
    with h5py.File(tiny_corpus / "embeddings" / "toy.h5", "r+") as file:
        file["beta/toy/features"][11, 3] = value
    corpus = Corpus.load(tiny_corpus)
    with pytest.raises(CorpusError, match=r"toy\.h5: dataset 'beta', .* clip 'b0005'"):
        corpus.embedding("toy")


def test_an_embedding_has_one_source(tiny_corpus):
    corpus = Corpus.load(tiny_corpus)
    second = tiny_corpus / "embeddings" / "again.h5"
    write_embedding_file(second, "toy2", {"alpha": (["a0000"], np.zeros((1, 12)))})
    with pytest.raises(CorpusError, match=r"was made by another model .*source"):
        corpus.add_embedding_file(second, {"toy2": {"source": "elsewhere"}})
    with pytest.raises(CorpusError, match="has one source"):
        corpus.add_embedding_file(second)
    assert Corpus.load(tiny_corpus).model_record("toy2") == {"source": "tests"}
    edit_description(
        tiny_corpus,
        embedding_files=[{"path": "embeddings/toy2.h5"}, {"path": "embeddings/again.h5"}],
    )
    assert "has one source" in message(tiny_corpus)


def test_a_file_outside_is_used_in_place(tiny_corpus, tmp_path):
    outside = tmp_path / "elsewhere" / "x.h5"
    write_embedding_file(outside, "far", {"alpha": (["a0000"], np.ones((1, 3)))})
    before = outside.read_bytes()
    corpus = Corpus.load(tiny_corpus).add_embedding_file(outside, {"far": {"source": "x"}})
    assert corpus.embedding_file("far", "alpha") == outside
    assert not corpus.description.embedding_files[-1].made_here
    assert corpus.complete(["far"]).sum() == 1
    assert corpus.missing("far")["reason"].iloc[-1] == "no file has far for this dataset"
    assert outside.read_bytes() == before
    assert str(outside) in corpus.data_sums()


def test_an_unknown_embedding_is_an_argument_error(tiny_corpus):
    with pytest.raises(ArgumentError, match="has no embedding 'vggish'; it has toy, toy2"):
        Corpus.load(tiny_corpus).embedding("vggish")


CLIPS = {"dataset": ["7", "b"], "clip": ["c", "d"], "split": ["train", "test"], "piano": [0, 1]}
ABOUT = {
    "name": "n",
    "title": "N",
    "datasets": ["7", "b"],
    "groups": ["x"],
    "targets": [Target("piano", "label")],
}


@pytest.mark.parametrize(
    ("about", "columns"),
    [
        ({"datasets": pd.Series(["7", "b"]).unique(), "name": Path("n")}, {}),
        (
            {"datasets": np.array([7, "b"], object), "groups": {"x": 1}.keys()},
            {"dataset": [7, b"b"]},
        ),
        ({"groups": pd.Series(["x", None]).unique()}, {"group": ["x", None]}),
        ({"provenance": {"seed": np.int64(3), "from": Path("f"), "on": pd.Timestamp(0)}}, {}),
        ({}, {"clip": pd.Categorical(["c", "d"]), "split": [b"train", b"test"], 8: [1, 2]}),
    ],
)
def test_a_writer_takes_what_numpy_and_pandas_give(tmp_path, about, columns):
    corpus = CorpusWriter(tmp_path / "c", **ABOUT | about).write(pd.DataFrame(CLIPS | columns))
    assert (corpus.name, corpus.datasets, corpus.groups) == ("n", ["7", "b"], ["x"])
    assert corpus.clips["clip"].tolist() == ["c", "d"]
    assert corpus.description.provenance.get("seed", 3) == 3
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "clips.parquet",
        "corpus.json",
    ]


@pytest.mark.parametrize(
    ("about", "columns", "expected"),
    [
        ({"datasets": "ab"}, {}, '"datasets" must be a list'),
        ({"targets": ["piano"]}, {}, 'holds objects with "name"'),
        ({"provenance": {"share": np.float32("nan")}}, {}, "not JSON compliant: nan"),
        ({"provenance": {np.int64(1): 2}}, {}, "keys must be str"),
        ({"embedding_files": [EmbeddingFile("gone.h5")]}, {}, "gone.h5: no such embedding file"),
        ({"name": b"\xe9"}, {}, "can't decode byte 0xe9"),
        ({}, {"remark": [1, "a"]}, "clips.parquet: cannot be stored .*remark"),
        ({}, {"clip": ["c", ["d"]]}, "row 2 .*'clip': .* is a list"),
        ({}, {"clip": ["caf\u00e9", "cafe\u0301"], "dataset": "b"}, "twice"),
    ],
)
def test_a_writer_leaves_nothing_of_what_it_refuses(tmp_path, about, columns, expected):
    with pytest.raises(CorpusError, match=expected):
        CorpusWriter(tmp_path / "c", **ABOUT | about).write(pd.DataFrame(CLIPS | columns))
    assert not list(tmp_path.iterdir())


def test_values_that_differ_in_case_only_are_noted(tmp_path):
    about = ABOUT | {"datasets": ["b", "B"], "targets": []}
    corpus = CorpusWriter(tmp_path, **about).write(pd.DataFrame(CLIPS | {"dataset": ["b", "B"]}))
    assert "column 'dataset': b and B differ in upper and lower case only" in corpus.summary()


def add_to(folder: str, name: str) -> None:
    write_embedding_file(Path(folder) / f"{name}.h5", name, {"alpha": (["a0000"], np.ones((1, 3)))})
    Corpus.load(folder).add_embedding_file(Path(folder) / f"{name}.h5", made_here=True)


def write_one(folder: str, name: str) -> str:
    try:
        return CorpusWriter(folder, **ABOUT | {"name": name}).write(pd.DataFrame(CLIPS)).name
    except CorpusError:
        return ""


def test_two_processes_change_a_corpus_one_after_the_other(tiny_corpus, tmp_path):
    names = [f"n{number}" for number in range(12)]
    with ProcessPoolExecutor(4, get_context("fork")) as pool:
        list(pool.map(add_to, [tiny_corpus] * 12, names))
        written = [*pool.map(write_one, [tmp_path / "new"] * 4, names[:4])]
    assert set(Corpus.load(tiny_corpus).embedding_names) == {"toy", "toy2", *names}
    assert [Corpus.load(tmp_path / "new").name] == [name for name in written if name]


def test_a_writer_never_writes_over_a_corpus(tiny_corpus):
    writer = CorpusWriter(
        tiny_corpus, name="n", title="N", datasets=["d"], groups=[], targets=[Target("t", "label")]
    )
    with pytest.raises(CorpusError, match=r"there is a corpus\.json already"):
        writer.write(pd.DataFrame({"dataset": ["d"], "clip": ["c"], "split": ["train"], "t": [1]}))
    assert Corpus.load(tiny_corpus).name == "tiny"


@pytest.mark.parametrize("name", ["x/y", ".", "..", "a\0b"])
def test_names_that_cannot_be_in_a_path_are_refused(tmp_path, name):
    with pytest.raises(CorpusError, match=r"dataset.*(cannot be part of a path|holds a NUL)"):
        CorpusWriter(tmp_path, name="n", title="N", datasets=["d", name], groups=[], targets=[])
    for dataset, embedding in (("d", name), (name, "e")):
        with pytest.raises(CorpusError, match="cannot be part of a path in an embedding file"):
            write_embedding_file(tmp_path / "e.h5", embedding, {dataset: (["c"], np.zeros((1, 2)))})
    assert not list(tmp_path.iterdir())


def test_large_files_are_pooled_once(tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("BIASMIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("biasmir_utils.corpus.embedding_file.SMALLEST_CACHED", 0)
    first = Corpus.load(tiny_corpus).embedding("toy")
    entries = list((tmp_path / "cache").glob("*.npz"))
    assert len(entries) == 2  # one a dataset
    for entry in entries:
        np.savez(entry, means=np.full((120, 8), 7.0), unlisted=3)
    again = Corpus.load(tiny_corpus)
    assert (again.embedding("toy") == 7).all()
    assert again.n_unlisted("toy") == 6
    for content in (b"", b"broken", b"PK\x03\x04garbage", b"\x93NUMPY"):
        for entry in entries:
            entry.write_bytes(content)
        np.testing.assert_array_equal(Corpus.load(tiny_corpus).embedding("toy"), first)
    with h5py.File(tiny_corpus / "embeddings" / "toy.h5", "r+") as file:
        file["alpha/toy/features"][0] += 1
    changed = Corpus.load(tiny_corpus).embedding("toy")
    np.testing.assert_array_equal(changed[1:], first[1:])
    assert not np.array_equal(changed[0], first[0])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_pooling_equals_the_plain_mean_in_any_order_and_block_size(tmp_path_factory, data):
    n_clips = data.draw(st.integers(1, 6))
    owners = data.draw(st.lists(st.integers(0, n_clips + 1), max_size=30))
    assume(not owners or min(owners) < n_clips)  # a file of other clips only is refused
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    features = rng.normal(size=(len(owners), 3)).astype(np.float32)
    names = [f"c{i}" for i in range(n_clips + 2)]  # the last two are not in the table
    folder = tmp_path_factory.mktemp("pool")
    table = pd.DataFrame({"dataset": "d", "clip": names[:n_clips], "split": "train"})
    writer = CorpusWriter(folder, name="n", title="N", datasets=["d"], groups=[], targets=[])
    corpus = writer.write(table)
    write_embedding_file(folder / "e.h5", "e", {"d": ([names[o] for o in owners], features)})
    corpus = corpus.add_embedding_file(folder / "e.h5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "biasmir_utils.corpus.embedding_file.CHUNK_BYTES", 24 * data.draw(st.integers(1, 8))
        )
        means = corpus.embedding("e")
    for i in range(n_clips):
        mine = features[[o == i for o in owners]]
        expected = mine.astype(float).mean(axis=0) if len(mine) else np.full(3, np.nan)
        np.testing.assert_allclose(means[i], expected, rtol=1e-6)
    assert corpus.n_unlisted("e") == len({o for o in owners if o >= n_clips})
