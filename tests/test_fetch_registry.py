"""The table of what can be fetched, and tables of one's own."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

import biasmir_utils.datasets.registry as module
from biasmir_utils.datasets import Registry
from biasmir_utils.datasets.registry import Product, RemoteFile
from biasmir_utils.errors import ArgumentError

OWN = json.loads(Path(module.__file__).with_name("registry.json").read_text("utf-8"))


def test_the_table_has_the_sums_and_addresses_of_the_page_of_sources(shared):
    page = (shared / "spec" / "sources.md").read_text("utf-8")
    registry = Registry.load()
    files = [file for source in registry.sources.values() for file in source.files]
    sums = {s.partition(":")[2] for f in files for s in (f.sum, f.product and f.product.sum) if s}
    named = set(re.findall(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b", page))
    assert sums == named
    for part in (
        "1432913",
        "1290750",
        "8126908",
        "e0e20bfed5af55d2de8cf084bd95bf0d348d4f6d",
        "tfhub.dev/google/vggish/1",
        "tfhub.dev/google/yamnet/1",
        "openl3_audio_mel256_music-v0_4_0.h5.gz",
    ):
        assert part in page
        assert any(part in file.url for file in files)


def test_every_file_has_an_address_a_bound_and_a_way_to_be_checked():
    without = set()
    for source in Registry.load().sources.values():
        assert source.licence
        for file in source.files:
            assert file.url.startswith("https://")
            assert file.largest is not None
            assert file.size <= file.largest
            if file.product:
                assert file.product.size < file.product.largest
            if file.sum is None and file.doi is None:
                without.add(file.name)
    assert without == {"yamnet_1.tar.gz", "vggish_1.tar.gz"}


def test_sources_and_files_are_found_by_name():
    registry = Registry.load()
    assert registry.file("irmas_train.csv").to == "paper/irmas_train.csv"
    assert registry.file("IRMAS-TrainingData.zip").result == "IRMAS-TrainingData"
    with pytest.raises(ArgumentError, match=r"no file 'x\.csv'"):
        registry.file("x.csv")
    with pytest.raises(ArgumentError, match="no source 'x'; there are openmic"):
        registry["x"]


def test_a_table_of_ones_own_replaces_what_it_lists(tmp_path):
    table = {**OWN, "sources": {"irmas": {**OWN["sources"]["irmas"], "title": "My IRMAS"}}}
    (tmp_path / "table.json").write_text(json.dumps(table))
    registry = Registry.load(tmp_path / "table.json")
    assert registry["irmas"].title == "My IRMAS"
    assert registry["openmic"] == Registry.load()["openmic"]
    assert list(registry.sources) == list(OWN["sources"])


def change(path: str, value: object) -> dict:
    """Return the table with one entry changed; `value` "absent" removes it."""
    table = json.loads(json.dumps(OWN))
    *steps, last = path.split("/")
    place = table
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    if value == "absent":
        del place[last]
    else:
        place[last] = value
    return table


FILE = "sources/irmas/files/0"


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("format", "other", "format 'other' version 1, expected 'biasmir-registry' version 1"),
        ("format_version", 2, "version 2, expected"),
        ("more", 1, "unknown entry 'more'"),
        ("sources/irmas", [], "irmas: expected an object"),
        ("sources/irmas/title", "absent", "irmas: 'title' is None, expected text"),
        ("sources/irmas/files", {}, "irmas: 'files' is not a list"),
        (f"{FILE}/name", "a/b.zip", "a file name has no folder"),
        (f"{FILE}/name", "..", "expected a path inside the root"),
        (f"{FILE}/name", "openmic-2018-v1.0.0.tgz", "the file name 'openmic.* is there twice"),
        (f"{FILE}/url", 3, r"IRMAS-TrainingData\.zip: 'url' is 3, expected text"),
        (f"{FILE}/sum", "md5:xyz", "the sum is 'md5:xyz', expected"),
        (f"{FILE}/sum", "sha1:" + "0" * 40, "the sum is 'sha1"),
        (f"{FILE}/size", -1, "'size' is -1, expected 0 or more"),
        (f"{FILE}/size", True, "'size' is True, expected a whole number"),
        (f"{FILE}/to", "/etc/passwd", "'to' is '/etc/passwd', expected a path inside the root"),
        (f"{FILE}/to", "../x", "expected a path inside the root"),
        (f"{FILE}/to", "a//b", "expected a path inside the root"),
        (f"{FILE}/to", "C:x", "expected a path inside the root"),
        (f"{FILE}/gunzip", {"to": "x", "largest": 1}, "'unpack' or 'gunzip', not both"),
        (f"{FILE}/unpack/to", "../out", "unpack: 'to' is '../out'"),
        (f"{FILE}/unpack/largest", "absent", "'largest' is None, expected a whole number"),
        (f"{FILE}/unpack/holds", [1], "'holds' is not a list"),
        (f"{FILE}/unpack/odd", 1, "unpack: unknown entry 'odd'"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(path, value, match, tmp_path):
    (tmp_path / "table.json").write_text(json.dumps(change(path, value)))
    with pytest.raises(ArgumentError, match=match) as caught:
        Registry.load(tmp_path / "table.json")
    assert str(tmp_path / "table.json") in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"format": "biasmir-registry"}'])
def test_a_table_that_is_no_table_is_named(text, tmp_path):
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(ArgumentError, match=r"table\.json: "):
        Registry.load(tmp_path / "table.json")


def test_the_table_that_the_book_shows_is_one(repository, tmp_path):
    page = (repository / "book" / "real-data.md").read_text("utf-8")
    shown = re.search(r":caption: sources\.json\n\n(.*?)```", page, re.S)
    assert shown is not None
    (tmp_path / "sources.json").write_text(shown[1])
    registry = Registry.load(tmp_path / "sources.json")
    assert registry["irmas"].title == "Some of IRMAS"
    product = registry["irmas"].files[0].product
    assert product is not None
    assert product.holds == ("cel", "pia")
    for name in (field.name for kind in (RemoteFile, Product) for field in fields(kind)):
        assert f"`{name}`" in page


@pytest.mark.parametrize(
    ("name", "meant"), [("irma", "irmas"), ("paper-embedding", "paper-embeddings")]
)
def test_a_name_that_is_nearly_right_is_guessed(name, meant):
    with pytest.raises(ArgumentError, match=rf"Did you mean '{meant}'\?"):
        Registry.load()[name]
