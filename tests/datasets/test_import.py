"""`biasmir import`: a corpus from a user's table, audio and matrices, and what it refuses."""

from __future__ import annotations

import csv
import io
import pickle
import re
import zipfile
from decimal import Decimal
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from running import run_command
from stand_in import tone

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets import import_corpus
from biasmir_utils.errors import ArgumentError, CorpusError

HEADER = ["dataset", "clip", "track", "split", "group", "piano", "tempo", "era", "remark"]


def rows(n: int = 8) -> list[list[str]]:
    return [
        [
            "studio" if i < n // 2 else "stage",
            f"{i:03d}",
            f"t{i // 2}",
            "test" if i % 4 == 3 else "train",
            "jazz" if i % 3 else "",
            ["0", "1", "0.25", ""][i % 4],
            f"{60 + i}.5",
            "old" if i % 2 else "new",
            f"take {i}",
        ]
        for i in range(n)
    ]


def write_csv(path: Path, body: list[list[str]] | None = None, header: list[str] | None = None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header or HEADER, *(rows() if body is None else body)])
    return path


def column(name: str, values: list[str]) -> list[list[str]]:
    """The usual rows with other values in one column, as many as are given."""
    body = rows()
    for row, value in zip(body, values, strict=False):
        row[HEADER.index(name)] = value
    return body


def run(*arguments: object) -> str:
    return run_command("import", *arguments)


def refused(*arguments: object) -> str:
    """Run the command, which has to fail with one line and leave nothing."""
    out = Path(str(arguments[0]))
    before = sorted(out.rglob("*")) if out.exists() else None
    done = CliRunner().invoke(main, ["import", *map(str, arguments)])
    assert done.exit_code == 1, done.output
    assert done.output.startswith("Error: ")
    assert len(done.output.splitlines()) == 1
    assert (sorted(out.rglob("*")) if out.exists() else None) == before
    return done.output


# The table


def test_a_table_becomes_a_corpus(tmp_path):
    table = write_csv(tmp_path / "clips.csv")
    output = run(tmp_path / "mine", "--clips", table, "--title", "Two of mine")
    corpus = Corpus.load(tmp_path / "mine")
    assert (corpus.name, corpus.title) == ("mine", "Two of mine")
    assert corpus.datasets == ["studio", "stage"]
    assert corpus.groups == ["jazz"]
    kinds = {target.name: target.kind for target in corpus.targets}
    assert kinds == {"piano": "label", "tempo": "number", "era": "category"}
    clips = corpus.clips
    assert clips["clip"].tolist() == [f"{i:03d}" for i in range(8)]
    assert clips["track"].tolist() == ["t0", "t0", "t1", "t1", "t2", "t2", "t3", "t3"]
    assert clips["group"].isna().tolist() == [i % 3 == 0 for i in range(8)]
    np.testing.assert_array_equal(clips["piano"], [0, 1, 0.25, np.nan] * 2)
    assert clips["tempo"][7] == 67.5
    assert clips["remark"][0] == "take 0"
    assert clips["audio"].isna().all()
    assert "taken for labels: piano" in output
    assert "kept as metadata: remark" in output
    assert "Two of mine (mine)" in output
    provenance = corpus.description.provenance
    assert provenance["made_by"] == "biasmir import"
    assert list(provenance["sources"]) == ["clips.csv"]


def test_parquet_gives_the_same_corpus(tmp_path):
    table = write_csv(tmp_path / "clips.csv")
    typed = pd.read_csv(table, dtype={"clip": str})
    typed.to_parquet(tmp_path / "clips.parquet")
    first = import_corpus(tmp_path / "a", table)
    second = import_corpus(tmp_path / "b", tmp_path / "clips.parquet")
    pd.testing.assert_frame_equal(first.clips, second.clips)
    # Numbers as names stay names.
    frame = pd.DataFrame(
        {"dataset": "d", "clip": [1, 2, 3], "track": [1.0, np.nan, 7.0], "split": "train"}
    )
    frame.to_parquet(tmp_path / "clips.parquet")
    clips = import_corpus(tmp_path / "out", tmp_path / "clips.parquet").clips
    assert clips["clip"].tolist() == ["1", "2", "3"]
    assert clips["track"].tolist() == ["1", "2", "7"]


def test_a_table_saved_by_a_spreadsheet(tmp_path):
    """A byte order mark, quoted cells with commas and line breaks, spaces around the header."""
    text = 'clip ,split,"note"\r\n007,train,"one, two"\r\nNA,test,"three\r\nfour"\r\n\r\n'
    path = tmp_path / "clips.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    clips = import_corpus(tmp_path / "out", path, dataset="d").clips
    assert clips["clip"].tolist() == ["007", "NA"]
    assert clips["note"].tolist() == ["one, two", "three\r\nfour"]


def test_what_is_missing_is_filled_in_and_said(tmp_path):
    body = [[f"c{i}", str(i % 2)] for i in range(40)]
    table = write_csv(tmp_path / "field.csv", body, ["clip", "bird"])
    output = run(tmp_path / "out", "--clips", table)
    assert "no column 'dataset': all clips belong to 'field'" in output
    assert "no column 'track'" in output
    assert "10 of 40 tracks of field were drawn for the test part (seed 0)" in output
    corpus = Corpus.load(tmp_path / "out")
    assert corpus.datasets == ["field"]
    assert (corpus.clips["split"] == "test").sum() == 10
    assert corpus.clips["track"].tolist() == corpus.clips["clip"].tolist()


def test_the_drawn_split_keeps_tracks_together_and_ignores_the_order_of_rows(tmp_path):
    split = HEADER.index("split")
    names, *body = [row[:split] + row[split + 1 :] for row in [HEADER, *rows(60)]]
    one = import_corpus(tmp_path / "a", write_csv(tmp_path / "1.csv", body, names), seed=3)
    two = import_corpus(tmp_path / "b", write_csv(tmp_path / "2.csv", body[::-1], names), seed=3)
    other = import_corpus(tmp_path / "c", tmp_path / "1.csv", seed=4)
    assert one.warnings == []
    splits = one.clips.set_index("clip")["split"]
    assert splits.to_dict() == two.clips.set_index("clip")["split"].to_dict()
    assert splits.to_dict() != other.clips.set_index("clip")["split"].to_dict()
    assert one.clips.groupby("dataset")["split"].nunique().tolist() == [2, 2]


def test_a_drawn_split_shares_out_the_labels_and_says_where_a_test_is_small(tmp_path):
    names = ["rare"] * 4 + ["bird"] * 8 + ["frog"] * 28
    body = [[f"{i:02d}", f"t{i // 2:02d}", *(str(int(n == name)) for n in ("rare", "bird"))]
            for i, name in enumerate(names)]  # fmt: skip
    table = write_csv(tmp_path / "pond.csv", body, ["clip", "track", "rare", "bird"])
    for seed in range(4):
        output = run(tmp_path / str(seed), "--clips", table, "--seed", seed)
        clips = Corpus.load(tmp_path / str(seed)).clips
        test = clips[clips["split"] == "test"]
        assert test[["rare", "bird"]].sum().tolist() == [2, 2]
        assert "fewer than 5 positive test clips in pond" in output
        assert "rare (2), bird (2)" in output


def test_every_dataset_has_a_draw_of_its_own(tmp_path):
    body = [[dataset, f"c{i}", str(i % 2)] for dataset in "ab" for i in range(40)]
    table = write_csv(tmp_path / "two.csv", body, ["dataset", "clip", "bird"])
    clips = import_corpus(tmp_path / "out", table).clips
    test = clips[clips["split"] == "test"].groupby("dataset")["clip"].agg(set)
    assert len(test["a"]) == len(test["b"]) == 10
    assert test["a"] != test["b"]


@settings(max_examples=30, deadline=None)
@given(
    tracks=st.lists(st.integers(0, 9), min_size=2, max_size=30).filter(lambda t: len(set(t)) > 1),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_a_drawn_split_has_two_parts_and_parts_no_track(tmp_path_factory, tracks, share, seed):
    folder = tmp_path_factory.mktemp("split")
    body = [[f"c{i}", f"t{track}"] for i, track in enumerate(tracks)]
    table = write_csv(folder / "clips.csv", body, ["clip", "track"])
    clips = import_corpus(folder / "out", table, test_share=share, seed=seed).clips
    assert set(clips["split"]) == {"train", "test"}
    assert (clips.groupby("track")["split"].nunique() == 1).all()


BROKEN = {
    "no clip": (column("clip", ["000", ""]), "clips.csv, line 3: the column 'clip' is empty"),
    "clip twice": (
        column("clip", ["000", "000"]),
        "line 3: dataset 'studio' has the clip '000' twice",
    ),
    "split": (
        column("split", ["train", "valid"]),
        "line 3 (dataset 'studio', clip '001'): column 'split' is 'valid', expected",
    ),
    "dataset": (column("dataset", ["studio", ""]), "line 3: the column 'dataset' is empty"),
    "short": ([*rows()[:2], ["studio", "x"]], "line 4: 2 cells, but the header has 9"),
    "long": ([[*rows()[0], "x", "y"]], "line 2: 11 cells, but the header has 9"),
    "nothing": ([], "the table has no rows"),
}


@pytest.mark.parametrize(("body", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_table_is_named_by_line_and_column(tmp_path, body, told):
    table = write_csv(tmp_path / "clips.csv", body)
    assert told in refused(tmp_path / "out", "--clips", table)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"clip;split\r\na;train\r\n", "semicolons, tabs or bars; save it with commas"),
        (b"clip|split\na|train\n", "semicolons, tabs or bars; save it with commas"),
        ("clip,split\ncaf\u00e9,train\n".encode("latin-1"), "not UTF-8"),
        (b'clip,split\n"a,train\nb,test\n', "line 2: cannot be read as CSV"),
        (b",clip,split\n0,a,train\n", "column 1 has no name; give it one, or leave it out"),
        (b"clip,split,clip\na,train,b\n", "two columns are called 'clip'"),
        (b"name,split\na,train\n", "the column 'clip' is missing (found: name, split"),
        (b"", "no rows"),
        (b"clip,split\na,train\ncaf\xe9,train\n", "clips.csv, line 3: not UTF-8"),
        (b"# mine, of 2024\nclip,split\na,train\n", "line 1: '# mine' is a remark"),
        (b"sep=,\nclip,split\na,train\n", "line 1: 'sep=' is a remark"),
        (b"Unnamed: 0,clip,split\n0,a,train\n", "column 1 has no name; give it one"),
    ],
)
def test_a_file_that_is_no_such_table(tmp_path, content, told):
    (tmp_path / "clips.csv").write_bytes(content)
    assert told in refused(tmp_path / "out", "--clips", tmp_path / "clips.csv")


@pytest.mark.parametrize(
    ("column", "meant"), [("TRACK", "track"), ("data set", "dataset"), ("Group", "group")]
)
def test_a_reserved_name_in_other_letters_is_not_passed_over(tmp_path, column, meant):
    """Or else all clips would become one dataset, and each a track of its own."""
    header = [column if name == meant else name for name in HEADER]
    table = write_csv(tmp_path / "clips.csv", header=header)
    told = refused(tmp_path / "out", "--clips", table)
    assert f"the column {column!r} would mean nothing; did you mean {meant!r}?" in told
    # Unless it is meant to be something else, or both are there.
    run(tmp_path / "out", "--clips", table, "--category", column, "--label", "piano")
    write_csv(table, [[*row, "x"] for row in rows()], [*HEADER, meant.capitalize()])
    run(tmp_path / "other", "--clips", table)


def test_other_kinds_of_files_and_a_corpus_that_is_there(tmp_path):
    (tmp_path / "clips.xlsx").write_bytes(b"PK")
    (tmp_path / "clips.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "parts.parquet").mkdir()
    for name, told in {
        "clips.xlsx": "expected a table, .csv or .parquet",
        "clips.parquet": "cannot be read as a table",
        "absent.csv": "no such file",
        "parts.parquet": "a folder, not a table",
    }.items():
        assert told in refused(tmp_path / "out", "--clips", tmp_path / name)
    table = write_csv(tmp_path / "clips.csv")
    run(tmp_path / "out", "--clips", table)
    before = (tmp_path / "out" / "corpus.json").read_bytes()
    assert "there is a corpus.json already" in refused(tmp_path / "out", "--clips", table)
    assert "clips.csv is not a folder" in refused(table, "--clips", table)
    assert (tmp_path / "out" / "corpus.json").read_bytes() == before


def test_what_does_not_go_together(tmp_path):
    table = write_csv(tmp_path / "one.csv", [["a", "t"], ["b", "t"]], ["clip", "track"])
    assert "one track only" in refused(tmp_path / "out", "--clips", table)
    table = write_csv(tmp_path / "clips.csv")
    assert "has no use" in refused(tmp_path / "out", "--clips", table, "--dataset", "x")
    for share in (0, 1, -0.5):
        with pytest.raises(ArgumentError, match="between 0 and 1"):
            import_corpus(tmp_path / "out", table, test_share=share)


# Targets


@pytest.mark.parametrize(
    ("suffix", "places"),
    [
        (".csv", ("line 4", "line 7")),
        (".parquet", ("row 3 (counting from 1)", "row 6 (counting from 1)")),
    ],
)
def test_a_stray_cell_in_a_column_of_numbers_is_pointed_out(tmp_path, suffix, places):
    """Guessed without --label, the column would become a category or metadata unseen."""
    body = column("piano", ["0", "1", "0,25", "", "0", "1", "0", "1"])
    for row, tempo in zip(body, ["90"] * 5 + ["fast", "slow", "90"], strict=True):
        row[HEADER.index("tempo")] = tempo
    path = tmp_path / f"clips{suffix}"
    if suffix == ".csv":
        write_csv(path, body)
    else:
        pd.DataFrame(body, columns=HEADER).replace("", None).to_parquet(path)
    notes = import_corpus(tmp_path / "out", path).description.provenance["notes"]
    piano, tempo = (note for note in notes if note.startswith("note: "))
    assert f"'piano' would be a label, but {places[0]} holds '0,25'; so it was taken for" in piano
    assert f"'tempo' would be a number, but {places[1]} holds 'fast', and 1 more" in tempo


def test_named_targets_and_nothing_else(tmp_path):
    table = write_csv(tmp_path / "clips.csv")
    output = run(
        tmp_path / "out", "--clips", table, "--number", "piano", "tempo", "--category", "remark"
    )
    assert "taken for" not in output
    corpus = Corpus.load(tmp_path / "out")
    kinds = [(target.name, target.kind) for target in corpus.targets]
    assert kinds == [("piano", "number"), ("tempo", "number"), ("remark", "category")]
    assert "era" in corpus.clips


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--label", "tempo"],
            "line 2 (dataset 'studio', clip '000'): column 'tempo' is 60.5, expected a likelihood",
        ),
        (["--label", "era"], "column 'era' is 'new', expected a finite number"),
        (["--label", "cello"], "the column 'cello' is missing (found: dataset, clip"),
        (["--label", "group"], "the column 'group' has a meaning, it is no target"),
        (["--label", "piano", "--number", "piano"], "cannot be a label and a number"),
        (["--labels-from", "cello"], "the column 'cello' is missing"),
        (["--label", "pianoo"], "Did you mean 'piano'?"),
        (["--number", "Tempo"], "Did you mean 'tempo'?"),
    ],
)
def test_targets_that_cannot_be(tmp_path, options, told):
    table = write_csv(tmp_path / "clips.csv")
    assert told in refused(tmp_path / "out", "--clips", table, *options)


def test_a_misspelt_column_is_said_before_a_missing_sound_file(tmp_path):
    table = write_csv(tmp_path / "clips.csv", [["a", "a.wav", "1"]], ["clip", "audio", "piano"])
    told = refused(tmp_path / "out", "--clips", table, "--label", "pianoo")
    assert "the column 'pianoo' is missing" in told
    assert "a.wav" in refused(tmp_path / "out", "--clips", table, "--label", "piano")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["0", "1", "0.5", ""], "label"),
        (["True", "false", "", "TRUE"], "label"),
        (["0", "1", "2", "3"], "number"),
        (["-1.5", "1e3", "", "7"], "number"),
        (["a", "b", "a", "b"], "category"),
        (["a", "b", "c", "d"], None),
        (["a", "a", "a", "a"], None),
        (["", "", "", ""], None),
        (["1", "2", "x", "2"], None),
        (["1", "2", "x", "2", "1", "x"], "category"),
    ],
)
def test_what_a_column_looks_like(tmp_path, cells, kind):
    body = [[str(i), "train", cell] for i, cell in enumerate(cells)]
    table = write_csv(tmp_path / "clips.csv", body, ["clip", "split", "x"])
    corpus = import_corpus(tmp_path / "out", table)
    assert [target.kind for target in corpus.targets] == ([kind] if kind else [])
    notes = corpus.description.provenance["notes"]
    assert sum(note.startswith(("taken for ", "kept as metadata: x")) for note in notes) == 1
    assert sum(note.startswith("note: ") for note in notes) == ("x" in cells)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (
            ["piano;violin", "piano", "violin;cello", ""],
            "'piano;violin'; if they name what is in a clip: --labels-from remark",
        ),
        (["0,25", "1,5", "1", "0,75"] * 2, "'0,25'; if they are numbers, write decimals with a po"),
    ],
)
def test_cells_that_may_mean_more_are_pointed_out(tmp_path, cells, told):
    body = column("remark", cells)
    output = run(tmp_path / "out", "--clips", write_csv(tmp_path / "clips.csv", body))
    assert f"'remark' holds cells such as {told}" in output


def test_labels_from_a_column_of_names(tmp_path):
    body = [["a", "piano; voice"], ["b", "voice"], ["c", ""], ["d", " piano ;"]]
    table = write_csv(tmp_path / "clips.csv", body, ["clip", "instrument"])
    run(tmp_path / "out", "--clips", table, "--labels-from", "instrument")
    corpus = Corpus.load(tmp_path / "out")
    assert corpus.labels == ["piano", "voice"]
    np.testing.assert_array_equal(corpus.clips["piano"], [1, 0, np.nan, 1])
    np.testing.assert_array_equal(corpus.clips["voice"], [1, 1, np.nan, 0])
    body[1][1] = "clip"
    table = write_csv(tmp_path / "clips.csv", body, ["clip", "instrument"])
    told = refused(tmp_path / "two", "--clips", table, "--labels-from", "instrument")
    assert "line 3, column 'instrument': 'clip' would be a label, but is a column" in told


WRITTEN = (
    "['piano', 'voice']",
    '["piano"]',
    "[]",
    "['piano'\n 'voice']",
    "[piano, voice]",
    "{'a': 1}",
)


@pytest.mark.parametrize("cell", WRITTEN)
def test_a_list_written_as_text_is_no_label(tmp_path, cell):
    body = [["a", "piano"], ["b", "[other]; {x}"], ["c", cell]]
    table = write_csv(tmp_path / "clips.csv", body, ["clip", "x"])
    told = refused(tmp_path / "out", "--clips", table, "--labels-from", "x")
    assert "line 4, column 'x': " in told
    assert "expected names parted by semicolons, or in a list" in told
    table = write_csv(tmp_path / "clips.csv", body[:2], ["clip", "x"])
    corpus = import_corpus(tmp_path / "two", table, dataset="d", labels_from="x")
    assert corpus.labels == ["[other]", "piano", "{x}"]


@pytest.mark.parametrize("name", ["dataset", "track", "group", "mood"])
def test_a_word_for_nothing_among_names_stays_a_name_and_is_noted(tmp_path, name):
    given = frame(mood=["sad", "gay"] * 2)
    given.loc[[1, 2], name] = ["NA", "None"]
    given.to_csv(tmp_path / "clips.csv", index=False)
    corpus = import_corpus(tmp_path / "out", tmp_path / "clips.csv", categories=["mood"])
    assert set(corpus.clips[name]) > {"NA", "None"}
    notes = [note for note in corpus.description.provenance["notes"] if note.startswith("note: ")]
    told = "2 of 4 cells hold a word for nothing, such as 'NA', and count as a name; leave"
    assert len(notes) == 1
    assert f"{name!r}: {told}" in notes[0]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_word_for_nothing_is_not_observed_whatever_its_share(tmp_path, suffix):
    words = ["NA", "NaN", "nan", "NULL", "None", "#N/A", "\\N", "-", "?", "n/a", "."]
    labels = [f"label {i}" for i in range(len(words))]
    body = [[f"c{row}", *words, words[row]] for row in range(8)]
    body += [[f"c{row}", *[cell] * len(words), cell] for row, cell in ((8, "0"), (9, "1"))]
    path = write_csv(tmp_path / "clips.csv", body, ["clip", *labels, "named"])
    if suffix == ".parquet":
        pd.DataFrame(body, columns=["clip", *labels, "named"]).to_parquet(
            path := path.with_suffix(suffix)
        )
    for options in ({}, {"labels": labels}):
        corpus = import_corpus(tmp_path / f"out{len(options)}", path, dataset="d", **options)
        assert corpus.labels[: len(labels)] == labels
        expected = np.repeat([[np.nan] * 8 + [0, 1]], len(labels), axis=0).T
        np.testing.assert_array_equal(corpus.clips[labels], expected)
        notes = corpus.description.provenance["notes"]
        assert f"'{labels[0]}': 8 of 10 cells hold a word for nothing, such as 'NA'" in "".join(
            notes
        )
    corpus = import_corpus(tmp_path / "from", path, dataset="d", labels_from="named")
    assert corpus.labels == ["0", "1"]
    np.testing.assert_array_equal(corpus.clips["1"], expected[:, 0])
    assert "'named': 8 of 10 cells" in "".join(corpus.description.provenance["notes"])


def frame(**more: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {"dataset": ["d"] * 4, "clip": list("abcd"), "split": ["train", "test"] * 2}
    )
    return table.assign(**more)


MOMENTS = pd.Series(pd.to_datetime(["2024-01-01", None, "2024-01-03", "2024-01-01"]))
NUMBERS = {
    "Int64": (pd.array([0, None, 1, 1], "Int64"), [0, np.nan, 1, 1]),
    "Float32": (pd.array([0.25, None, 1, 0], "Float32"), [0.25, np.nan, 1, 0]),
    "boolean": (pd.array([True, None, False, True], "boolean"), [1, np.nan, 0, 1]),
    "bool": ([True, False, False, True], [1, 0, 0, 1]),
    "arrow": (pd.array([0.5, None, 1, 0], pd.ArrowDtype(pa.float64())), [0.5, np.nan, 1, 0]),
    "decimal": ([Decimal("0.25"), None, Decimal(1), Decimal(0)], [0.25, np.nan, 1, 0]),
    "category": (pd.Categorical(["0", None, "1", "1"]), [0, np.nan, 1, 1]),
}


@pytest.mark.parametrize(("cells", "expected"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_of_every_type_of_parquet_are_the_numbers(tmp_path, cells, expected):
    frame(x=cells).to_parquet(tmp_path / "clips.parquet")
    for options in ({}, {"labels": ["x"]}):
        corpus = import_corpus(
            tmp_path / f"out{len(options)}", tmp_path / "clips.parquet", **options
        )
        assert corpus.labels == ["x"]
        np.testing.assert_array_equal(corpus.clips["x"], expected)


OTHERS = {
    "moments": MOMENTS,
    "zones": MOMENTS.dt.tz_localize("Europe/Paris"),
    "dates": MOMENTS.dt.date,
    "periods": MOMENTS.dt.to_period("M"),
    "durations": MOMENTS - MOMENTS[0],
    "structs": [{"a": 1}, None, {"a": 2}, {"a": 1}],
    "lists": [["p"], None, ["q"], ["p"]],
    "bytes": [b"0", None, b"1", b"1"],
}


@pytest.mark.parametrize("cells", OTHERS.values(), ids=OTHERS)
def test_what_is_no_text_and_no_number_is_metadata(tmp_path, cells):
    path = tmp_path / "clips.parquet"
    frame(x=cells, piano=[0, 1, 0, 1]).to_parquet(path)
    corpus = import_corpus(tmp_path / "out", path)
    assert corpus.labels == ["piano"]
    assert corpus.clips["x"].isna().tolist() == [False, True, False, False]
    with pytest.raises(CorpusError, match=r"row 1 .*'x' is .*expected a finite number"):
        import_corpus(tmp_path / "two", path, numbers=["x"])


@pytest.mark.parametrize("name", ["group", "clip", "x"])
@pytest.mark.parametrize("cell", [["p", "q"], {"a": 1}, np.array([1, 2])])
def test_a_container_never_becomes_a_name(tmp_path, name, cell):
    frame(**{name: [cell] * 4}).to_parquet(tmp_path / "clips.parquet")
    with pytest.raises(CorpusError, match=rf"row 1 \(counting from 1\), column '{name}'"):
        import_corpus(tmp_path / "out", tmp_path / "clips.parquet", categories={name} & {"x"})


def test_labels_from_lists_element_by_element(tmp_path):
    path = tmp_path / "clips.parquet"
    frame(x=[["p;q", "r"], None, [], [" r"]]).to_parquet(path)
    corpus = import_corpus(tmp_path / "out", path, labels_from="x")
    assert corpus.labels == ["p;q", "r"]
    np.testing.assert_array_equal(corpus.clips["p;q"], [1, np.nan, 0, 0])
    np.testing.assert_array_equal(corpus.clips["r"], [1, np.nan, 0, 1])
    for cells in ([["p"], ["q", None]] * 2, [[1.0], [0]] * 2, [{"a": 1}, {"a": 1}] * 2):
        frame(x=cells).to_parquet(path)
        with pytest.raises(
            CorpusError, match=r"row [12] \(counting from 1\), column 'x': .*expected"
        ):
            import_corpus(tmp_path / "two", path, labels_from="x")


def test_names_that_differ_by_case_only_are_noted_and_by_blanks_are_the_same(tmp_path):
    groups = ["jazz", "Jazz", "jazz ", "jazz\u00a0", "folk", "cafe\u0301", "caf\u00e9", ""]
    table = write_csv(tmp_path / "clips.csv", column("group", groups))
    corpus = import_corpus(tmp_path / "out", table)
    assert corpus.groups == ["jazz", "Jazz", "folk", "caf\u00e9"]
    assert "column 'group': jazz and Jazz differ in upper and lower case only" in corpus.summary()


def test_metadata_that_are_no_text_are_named_by_file_and_row(tmp_path):
    path = tmp_path / "clips.parquet"
    pd.DataFrame({"clip": list("abc"), "x": [0, 1, 1], "t": ["y", None, "z\0"]}).to_parquet(path)
    told = refused(tmp_path / "out", "--clips", path)
    assert f"{path}, row 3 (counting from 1), column 't'" in told


# Audio


def sounds(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(tone())
    return folder


def test_audio_by_its_path_stays_in_place(tmp_path):
    folder = sounds(tmp_path / "music", "one/a.wav", "b.WAV", "c.wav")
    body = [["one/a.wav", "train"], [str(folder / "b.WAV"), "test"], ["c.wav", "train"]]
    table = write_csv(folder / "clips.csv", body, ["audio", "split"])
    corpus = import_corpus(tmp_path / "out", table)
    assert corpus.clips["clip"].tolist() == ["a", "b", "c"]
    audio = ["../music/one/a.wav", "../music/b.WAV", "../music/c.wav"]
    assert corpus.clips["audio"].tolist() == audio
    assert corpus.audio_path(0).resolve() == (folder / "one/a.wav").resolve()
    elsewhere = write_csv(tmp_path / "clips.csv", body, ["audio", "split"])
    moved = import_corpus(tmp_path / "two", elsewhere, audio_root=folder)
    assert moved.clips["audio"].tolist() == audio


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path):
    names = ["d1/a.wav", "d2/a.wav", "b.wav"]
    folder = sounds(tmp_path / "music", *names)
    body = [[name, split] for name, split in zip(names, ("train", "test", "train"), strict=True)]
    table = write_csv(tmp_path / "clips.csv", body, ["audio", "split"])
    output = run(tmp_path / "out", "--clips", table, "--audio-root", folder)
    assert f"several files are called 'a': each clip is named by its path from {folder}" in output
    assert Corpus.load(tmp_path / "out").clips["clip"].tolist() == names


def test_audio_by_the_name_of_the_clip(tmp_path):
    folder = sounds(tmp_path / "music", "x/a.wav", "x/b.ogg", "d1/c.wav", "d2/c.wav", "b.txt")
    body = [[*row, "train"] for row in (("d1", "a"), ("d1", "b.ogg"), ("d1", "c"), ("d2", "c"))]
    table = write_csv(tmp_path / "clips.csv", body, ["dataset", "clip", "split"])
    clips = import_corpus(tmp_path / "out", table, audio_root=folder).clips
    found = [Path(audio).relative_to("../music").as_posix() for audio in clips["audio"]]
    assert found == ["x/a.wav", "x/b.ogg", "d1/c.wav", "d2/c.wav"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["a,a.wav", "b,b.wav"], "b.wav: no such file; --audio-root names where paths start"),
        (["a", "b"], "line 3, column 'clip': .* have the name 'b'"),
        (["a", "c"], "line 3, column 'clip': no sound file of the name 'c'"),
        (['"a"', '""'], "line 3: the column 'clip' is empty"),
    ],
)
def test_audio_that_is_not_there_or_there_twice(tmp_path, rows, told):
    folder = sounds(tmp_path / "music", "a.wav", "x/b.wav", "y/b.wav")
    table = tmp_path / "clips.csv"
    header = "split,clip,audio" if "," in rows[0] else "split,clip"
    table.write_text(f"{header}\ntrain,{rows[0]}\ntest,{rows[1]}\n")
    arguments = (tmp_path / "out", "--clips", table, "--audio-root")
    assert re.search(f"clips.csv, line 3.*{told}|clips.csv, {told}", refused(*arguments, folder))
    assert "no such folder" in refused(*arguments, tmp_path / "nowhere")


@pytest.mark.parametrize("header", ["clip", "audio"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_file_names_are_matched_in_any_unicode_form(tmp_path, header, form):
    names = [normalize(form, name) for name in ("Caf\u00e9", "Dvo\u0159\u00e1k")]
    folder = sounds(tmp_path / normalize(form, "\u00e9"), *(f"{name}.wav" for name in names))
    end = ".wav" if header == "audio" else ""
    cells = [[normalize("NFC", name) + end] for name in names]
    table = write_csv(tmp_path / "clips.csv", cells, [header])
    corpus = import_corpus(tmp_path / "out", table, audio_root=folder)
    assert corpus.clips["clip"].tolist() == [normalize("NFC", name) for name in names]
    assert all(corpus.audio_path(row).is_file() for row in range(2))


def test_a_clip_may_have_no_audio(tmp_path):
    sounds(tmp_path, "a.wav")
    body = [["a", "train", "a.wav"], ["b", "test", ""]]
    table = write_csv(tmp_path / "clips.csv", body, ["clip", "split", "audio"])
    assert import_corpus(tmp_path / "out", table).audio_path(1) is None


# Embeddings


X = np.arange(24, dtype=np.float64).reshape(8, 3) / 8


def save(path: Path, matrix: np.ndarray = X, **more: object) -> Path:
    if path.suffix == ".npy":
        np.save(path, matrix)
    elif path.suffix == ".npz":
        np.savez(path, features=matrix, **more)
    else:
        frame = pd.DataFrame(matrix, columns=[f"f{i}" for i in range(matrix.shape[1])])
        for name, values in more.items():
            frame.insert(0, name, values)
        frame.to_parquet(path)
    return path


def embedding_refused(place: Path, path: Path) -> str:
    table = write_csv(place / "clips.csv")
    told = refused(place / "out", "--clips", table, "--features", path, "--embedding", "e")
    assert str(path) in told
    return told


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16"])
def test_a_matrix_in_the_order_of_the_table(tmp_path, suffix, dtype):
    table = write_csv(tmp_path / "clips.csv")
    matrix = (8 * X).astype(dtype)
    run(
        tmp_path / "out", "--clips", table,
        "--features", save(tmp_path / f"X{suffix}", matrix), "--embedding", "mine",
    )  # fmt: skip
    corpus = Corpus.load(tmp_path / "out")
    np.testing.assert_array_equal(corpus.embedding("mine"), matrix.astype(np.float32))
    assert corpus.dimension("mine") == 3
    record = corpus.model_record("mine")
    assert record["source"] == f"imported from X{suffix}"
    assert record["dimension"] == 3
    assert list(record["sums"]) == [f"X{suffix}"]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_keys_several_rows_a_clip_unlisted_and_missing_ones(tmp_path, suffix):
    table = write_csv(tmp_path / "clips.csv")
    keys = ["007", "000", "000", "unknown", "001"]
    matrix = np.array([[7.0, 7], [0, 2], [2, 0], [9, 9], [1, 1]])
    name = "clip" if suffix == ".parquet" else "keys"
    path = save(tmp_path / f"X{suffix}", matrix, **{name: np.array(keys)})
    output = run(tmp_path / "out", "--clips", table, "--features", path, "--embedding", "mine")
    assert "mine: 5 clips have no row" in output
    assert "mine: 1 rows of clips not in the table were left out, the first of 'unknown'" in output
    corpus = Corpus.load(tmp_path / "out")
    found = corpus.embedding("mine")
    np.testing.assert_array_equal(found[[0, 1, 7]], [[1, 1], [1, 1], [7, 7]])
    assert np.isnan(found[2:7]).all()
    np.testing.assert_array_equal(corpus.frames("mine", "studio", "000"), [[0, 2], [2, 0]])


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_one_name_in_two_datasets(tmp_path, suffix):
    body = [["d1", "a", "train"], ["d2", "a", "train"]]
    table = write_csv(tmp_path / "clips.csv", body, ["dataset", "clip", "split"])
    matrix, keys = np.array([[2.0], [1.0]]), np.array(["a", "a"])
    names = ("clip", "dataset") if suffix == ".parquet" else ("keys", "datasets")
    path = save(tmp_path / f"X{suffix}", matrix, **{names[0]: keys})
    told = refused(tmp_path / "out", "--clips", table, "--features", path, "--embedding", "e")
    assert "the key 'a' is a clip of 'd1' and of 'd2'" in told
    assert repr(names[1]) in told
    both = {names[0]: keys, names[1]: np.array(["d2", "d1"])}
    path = save(tmp_path / f"Y{suffix}", matrix, **both)
    corpus = import_corpus(tmp_path / "out", table, features={"e": path})
    np.testing.assert_array_equal(corpus.embedding("e"), [[1.0], [2.0]])


def test_a_column_of_lists(tmp_path):
    table = write_csv(tmp_path / "clips.csv")
    frame = pd.DataFrame({"clip": [f"{i:03d}" for i in range(8)], "embedding": list(X)})
    frame.to_parquet(tmp_path / "X.parquet")
    corpus = import_corpus(tmp_path / "out", table, features={"e": tmp_path / "X.parquet"})
    np.testing.assert_array_equal(corpus.embedding("e"), X.astype(np.float32))
    frame["embedding"] = [row if i != 2 else row[:2] for i, row in enumerate(X)]
    frame.to_parquet(tmp_path / "X.parquet")
    with pytest.raises(CorpusError, match=r"row 2 \(from 0\).* as many as in the rows above"):
        import_corpus(tmp_path / "two", table, features={"e": tmp_path / "X.parquet"})


@pytest.mark.parametrize("levels", [["clip"], ["dataset", "clip"]])
def test_a_named_index_is_columns_in_any_order(tmp_path, levels):
    table = pd.read_csv(write_csv(tmp_path / "clips.csv"), dtype={"clip": str})
    matrix = pd.DataFrame(X, columns=list("xyz")).assign(**table[levels]).set_index(levels)
    matrix[::-1].to_parquet(tmp_path / "X.parquet")
    table.set_index(levels).iloc[::2].to_parquet(tmp_path / "clips.parquet")
    for suffix, step in ((".csv", 1), (".parquet", 2)):
        clips = tmp_path / f"clips{suffix}"
        corpus = import_corpus(tmp_path / suffix, clips, features={"e": tmp_path / "X.parquet"})
        assert corpus.clips["clip"].tolist() == table["clip"][::step].tolist()
        np.testing.assert_array_equal(corpus.embedding("e"), X[::step].astype(np.float32))


ORDER = [1, 0, *range(2, 8)]
INDEXES = {
    "texts": (lambda X: X.set_axis([f"{i:03d}" for i in range(8)]), "its index.* has no name"),
    "shuffled": (lambda X: X.iloc[ORDER], "another order than the numbers of their index"),
    "frame": (lambda X: X.rename_axis("frame"), "'frame', a level of the index, is no dimension"),
    "half named": (
        lambda X: X.set_axis(pd.MultiIndex.from_product([["a"], range(8)], names=["clip", None])),
        "its index.* has no name",
    ),
    "dataset": (lambda X: X.assign(dataset="stage"), r"row 0 \(from 0\): the dataset is another"),
    "label": (lambda X: X.assign(Piano=0.5), r"among the dimensions .*\(1 of 4\): 'Piano'; "),
    "moment": (
        lambda X: X.assign(d=[None, *[pd.Timestamp(0)] * 7]),
        r"row 1 \(from 0\): the column 'd' holds Timestamp",
    ),
    "decimal": (lambda X: X.assign(d=Decimal(1)), r"row 0 .*'d' holds Decimal\('1'\)"),
    "null": (
        lambda X: X.assign(d=pd.array([0, 1, None, 3] * 2, "Int64")),
        r"row 2 \(from 0\), clip '002', column 'd': nan",
    ),
    "no clip": (
        lambda X: X.assign(clip=["000", None, *["001"] * 6]),
        r"row 1 \(from 0\): the column 'clip' is empty",
    ),
    "text": (lambda X: X.assign(clip="000", name="x"), "the column 'name' holds "),
    "unnamed": (lambda X: X.rename(columns={"x": "Unnamed: 0"}), "column 1 has no name"),
    "one name": (
        lambda X: X.set_axis(pd.MultiIndex.from_product([["a"], range(8)], names=["a", "a"])),
        "duplicate column labels",
    ),
}


@pytest.mark.parametrize(("change", "told"), INDEXES.values(), ids=INDEXES)
def test_a_matrix_that_would_be_matched_or_read_wrongly(tmp_path, change, told):
    change(pd.DataFrame(X, columns=list("xyz"))).to_parquet(tmp_path / "X.parquet")
    assert re.search(told, embedding_refused(tmp_path, tmp_path / "X.parquet"))


def test_a_shuffled_table_and_features_without_keys(tmp_path):
    table = pd.read_csv(write_csv(tmp_path / "clips.csv"), dtype={"clip": str})
    table.iloc[ORDER].to_parquet(tmp_path / "clips.parquet")
    features = {"e": save(tmp_path / "X.npy")}
    with pytest.raises(CorpusError, match=r"clips.parquet: the rows stand in another order"):
        import_corpus(tmp_path / "out", tmp_path / "clips.parquet", features=features)
    features = {"e": save(tmp_path / "X.npz", keys=table["clip"].to_numpy(str))}
    corpus = import_corpus(tmp_path / "out", tmp_path / "clips.parquet", features=features)
    np.testing.assert_array_equal(corpus.embedding("e"), X[ORDER].astype(np.float32))


def test_indexes_without_names_have_to_hold_the_same_numbers(tmp_path):
    table = pd.read_csv(write_csv(tmp_path / "clips.csv"), dtype={"clip": str})
    table.set_axis(range(10, 18)).to_parquet(tmp_path / "clips.parquet")
    features = pd.DataFrame(X, columns=list("xyz"))
    features.to_parquet(tmp_path / "X.parquet")
    with pytest.raises(CorpusError, match=r"other numbers .*\(0, ... and 10, ...\)"):
        import_corpus(
            tmp_path / "out", tmp_path / "clips.parquet", features={"e": tmp_path / "X.parquet"}
        )
    features.set_axis(range(10, 18)).to_parquet(tmp_path / "X.parquet")
    corpus = import_corpus(
        tmp_path / "out", tmp_path / "clips.parquet", features={"e": tmp_path / "X.parquet"}
    )
    np.testing.assert_array_equal(corpus.embedding("e"), X.astype(np.float32))


def test_columns_of_the_table_may_be_features_if_asked_for(tmp_path):
    table = write_csv(tmp_path / "clips.csv")
    path = save(tmp_path / "X.parquet", tempo=np.arange(8.0))
    pair = ("--features", path, "--embedding", "e")
    assert "'tempo'" in refused(tmp_path / "out", "--clips", table, *pair)
    run(tmp_path / "out", "--clips", table, *pair, "--allow-table-columns")
    assert Corpus.load(tmp_path / "out").dimension("e") == 4


def test_ids_and_second_rows_among_features_are_warned_of(tmp_path):
    table = write_csv(tmp_path / "clips.csv")
    matrix = np.column_stack([X, np.zeros(8), np.arange(8)])[[*range(8), 0]]
    path = save(tmp_path / "X.parquet", matrix, clip=[*(f"{i:03d}" for i in range(8)), "000"])
    notes = import_corpus(tmp_path / "out", table, features={"e": path}).description.provenance
    told = [note for note in notes["notes"] if note.startswith(("e: ", "WARNING: e: "))]
    assert told[0] == "e: 1 clips have several rows, which count as their frames"
    assert "unlike in the other dimensions, are in f4; if that is an id or a label" in told[1]
    assert len(told) == 2


def test_whole_numbers_beside_a_dead_unit_are_no_ids(tmp_path):
    """They are like all other dimensions in which anything varies."""
    table = write_csv(tmp_path / "clips.csv")
    matrix = np.column_stack([np.full(8, 0.5), np.arange(8), np.arange(8)[::-1]])
    path = save(tmp_path / "X.npy", matrix)
    notes = import_corpus(tmp_path / "out", table, features={"e": path}).description.provenance
    assert not [note for note in notes["notes"] if "whole numbers only" in note]


def test_texts_beside_features_that_name_no_rows(tmp_path):
    table = write_csv(tmp_path / "clips.csv", header=[*HEADER[:-1], "0"])
    path = save(tmp_path / "X.npz", model="vggish", dimensions=np.array(["x", "y", "z"]))
    for number, matrix in enumerate((path, save(tmp_path / "X.npy"))):
        corpus = import_corpus(tmp_path / str(number), table, features={"e": matrix})
        np.testing.assert_array_equal(corpus.embedding("e"), X.astype(np.float32))


def test_frames_as_lists_of_lists_and_as_a_third_axis(tmp_path):
    table = write_csv(tmp_path / "clips.csv")
    clips = [f"{i:03d}" for i in range(8)]
    frames = np.stack([X - 1, X + 1], axis=1)
    nested = pd.DataFrame({"clip": clips, "e": [[[*f] for f in clip] for clip in frames]})
    nested.to_parquet(tmp_path / "X.parquet")
    for path in (save(tmp_path / "X.npz", frames, keys=clips), tmp_path / "X.parquet"):
        corpus = import_corpus(tmp_path / path.suffix, table, features={"e": path})
        np.testing.assert_array_equal(corpus.embedding("e"), X.astype(np.float32))
        np.testing.assert_array_equal(corpus.frames("e", "stage", "006"), frames[6])
    for cell in ([[1.0, 2]], [[1.0, 2, 3], [1.0]], [[]], None):
        nested["e"] = [[[1.0, 2, 3]], cell] * 4
        nested.to_parquet(tmp_path / "X.parquet")
        with pytest.raises(CorpusError, match=r"row 1 \(from 0\): the column 'e' holds"):
            import_corpus(tmp_path / "out", table, features={"e": tmp_path / "X.parquet"})


def test_an_embedding_that_is_constant_is_warned_of(tmp_path):
    table = write_csv(tmp_path / "clips.csv")
    half = np.vstack([X[:4], np.ones((4, 3))])
    paths = [save(tmp_path / name, rows) for name, rows in (("a.npy", 0 * X), ("b.npy", half))]
    output = run(
        tmp_path / "out", "--clips", table,
        "--features", *paths, save(tmp_path / "c.npy"), "--embedding", "zero", "half", "fine",
    )  # fmt: skip
    warned = [line for line in output.splitlines() if "are equal" in line]
    assert [line.split(", so ")[0] for line in warned] == [
        "WARNING: zero: all rows of studio, stage are equal",
        "WARNING: half: all rows of stage are equal",
    ]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_number_that_cannot_be_kept_is_named(tmp_path, suffix, value):
    matrix = X.copy()
    matrix[5, 1] = value
    told = embedding_refused(tmp_path, save(tmp_path / f"X{suffix}", matrix))
    assert f"X{suffix}, row 5 (from 0), clip '005', column " in told
    assert "'f1'" in told or "column 1" in told


MATRICES = {
    "rows": (X[:7], "7 rows, but"),
    "frames": (X.reshape(2, 4, 3), "shape (2, 4, 3), expected (rows, dimensions); average"),
    "vector": (X[:, 0], "shape (8,), expected"),
    "no column": (X[:, :0], "shape (8, 0), expected"),
    "complex": (X + 1j, "numbers of type complex128"),
    "texts": (X.astype(str), "expected real numbers"),
    "truth": (X > 1, "numbers of type bool"),
    "objects": (X.astype(object), "Python objects, which are not loaded"),
}


@pytest.mark.parametrize(("matrix", "told"), MATRICES.values(), ids=MATRICES)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_matrix_that_cannot_be_used(tmp_path, suffix, matrix, told):
    assert told in embedding_refused(tmp_path, save(tmp_path / f"X{suffix}", matrix))


class _Trap:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["objects.npy", "objects.npz", "keys.npz", "plain.npy"])
def test_nothing_is_unpickled(tmp_path, kind):
    proof, path = tmp_path / "proof", tmp_path / kind
    trap = np.array([_Trap(proof)] * 8, dtype=object)
    if kind == "objects.npy":
        np.save(path, trap, allow_pickle=True)
    elif kind == "objects.npz":
        np.savez(path, features=trap)
    elif kind == "keys.npz":
        np.savez(path, features=X, keys=trap)
    else:
        path.write_bytes(pickle.dumps(_Trap(proof)))
    assert "not loaded since they can run any code" in embedding_refused(tmp_path, path)
    assert not proof.exists()


def test_broken_and_unknown_feature_files(tmp_path):
    (tmp_path / "cut.npy").write_bytes(save(tmp_path / "X.npy").read_bytes()[:-50])
    (tmp_path / "cut.npz").write_bytes(save(tmp_path / "X.npz").read_bytes()[:-50])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "X.parquet").write_bytes(b"PAR1")
    (tmp_path / "X.txt").write_text("1 2 3")
    np.savez(tmp_path / "names.npz", a=X, b=X)
    np.savez(tmp_path / "clips.npz", **{f"{i:03d}": x for i, x in enumerate(X)})
    np.save(tmp_path / "one.npy", 1.0)
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as huge:  # a shape, and no numbers
        header = {"descr": "<f8", "fortran_order": False, "shape": (8, 10**15)}
        np.lib.format.write_array_header_1_0(file := io.BytesIO(), header)
        huge.writestr("features.npy", file.getvalue())
    for name, told in {
        "cut.npy": "cannot be read, perhaps truncated",
        "cut.npz": "cannot be read, perhaps truncated",
        "huge.npz": "cannot be read, perhaps truncated (Unable to allocate",
        "empty.npy": "cannot be read, perhaps truncated",
        "X.parquet": "cannot be read as a table",
        "X.txt": "expected a matrix of embeddings, .npy, .npz, .parquet",
        "absent.npy": "no such file",
        "one.npy": "an array of shape (1,), expected (rows, dimensions)",
        "names.npz": "the array 'features' is missing (found: a, b)",
        "clips.npz": "(found: 000, 001, 002, 003, 004, ...); it has a row for each name in",
    }.items():
        assert told in embedding_refused(tmp_path, tmp_path / name), name


KEYS = {
    "few": ({"keys": ["000"] * 7}, "7 keys for 8 rows of features"),
    "other": (
        {"keys": [f"{i:03d}.wav" for i in range(8)]},
        "none of its 8 keys is a clip .* the first clip here is '000.wav', and there '000'",
    ),
    "dataset": (
        {"keys": [f"{i:03d}" for i in range(8)], "datasets": ["one"] * 8},
        "the first dataset here is 'one', and there 'studio'",
    ),
    "texts": ({"name": ["a"] * 8}, "array 'name' holds texts; if these are the clips, call it 'k"),
    "numbers": ({"id": np.arange(8)}, "the array 'id' holds numbers; if these are the clips, call"),
    "column": ({"keys": [["000"]] * 8}, r"column 'keys': \['000'\] is a list, expected one text"),
    "floats": ({"keys": [0.5] * 8}, "none of its 8 keys is a clip .* the first clip here is '0.5'"),
    "blank": ({"keys": ["000", "\u00a0"] * 4}, r"row 1 \(from 0\): the column 'keys' is empty"),
    "nested": ({"name": [["a"]] * 8}, "the array 'name' holds texts"),
    "no clips": ({"name": ["a"] * 8, "datasets": ["d"] * 8}, "the array 'name' holds texts"),
    "twice": ({"keys": ["000"] * 8, "clip": ["1"] * 8}, "keys and clip name the clip of a row twi"),
    "bytes": (
        {"keys": [b"000", b"caf\xe9", *[b"001"] * 6]},
        r"row 2 \(counting from 1\), column 'keys'.*utf-8",
    ),
}


@pytest.mark.parametrize(("arrays", "told"), KEYS.values(), ids=KEYS)
def test_keys_that_do_not_fit(tmp_path, arrays, told):
    path = save(tmp_path / "X.npz", **{name: np.array(cells) for name, cells in arrays.items()})
    assert re.search(told, embedding_refused(tmp_path, path))


def test_matrices_and_names_go_in_pairs(tmp_path):
    table, path = write_csv(tmp_path / "clips.csv"), save(tmp_path / "X.npy")
    pairs = "--features and --embedding go in pairs"
    assert pairs in refused(tmp_path / "out", "--clips", table, "--features", path)
    assert pairs in refused(
        tmp_path / "out", "--clips", table, "--features", path, path, "--embedding", "a", "a"
    )
    told = refused(tmp_path / "o", "--clips", table, "--features", path, "--embedding", "../a")
    assert "expected letters, digits" in told


def test_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    """The disk is full when the clip table is written, after the embedding."""
    table, path = write_csv(tmp_path / "clips.csv"), save(tmp_path / "X.npy")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pd.DataFrame, "to_parquet", full)
        with pytest.raises(OSError, match="No space"):
            import_corpus(tmp_path / "out", table, features={"e": path})
    assert not (tmp_path / "out").exists()
    (tmp_path / "out" / ".corpus.killed.partial").mkdir(parents=True)  # what a killed one left
    import_corpus(tmp_path / "out", table, features={"e": path})
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"clips.parquet", "corpus.json", "embeddings"}


def test_a_likelihood_is_a_number_in_its_range(tmp_path):
    for value in ("inf", "0,5", "-1", "1.01"):
        table = write_csv(tmp_path / "clips.csv", column("piano", ["0", "1", value]))
        told = refused(tmp_path / "out", "--clips", table, "--label", "piano")
        assert "clips.csv, line 4 (dataset 'studio', clip '002'): column 'piano' is " in told
