"""Corrections on disk: what is read back does the same, and nothing is unpickled."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from biasmir_utils.corrections import (
    CORAL,
    SETS,
    DomainLDA,
    Fastfood,
    fit_correction,
    load_correction,
    read_record,
    save_correction,
)
from biasmir_utils.errors import ArgumentError


def rows(n: int = 60, d: int = 5) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(0)
    domain, group = rng.choice(["a", "b"], n), rng.choice(["rock", "jazz"], n)
    return rng.normal(size=(n, d)) + (domain == "b")[:, None], domain, group, rng.integers(0, 2, n)


def same(one: Any, other: Any, X: Any, domain: Any) -> None:
    for names in (domain, np.full(len(X), "unseen")):
        np.testing.assert_array_equal(
            one.transform(X, sample_domain=names), other.transform(X, sample_domain=names)
        )
    assert str(one.get_params()) == str(other.get_params())
    assert one.domains_ == other.domains_


@pytest.mark.parametrize("name", SETS["all"])
@pytest.mark.parametrize("d", [5, 80])
def test_what_is_read_back_does_the_same(name: str, d: int, tmp_path: Path) -> None:
    X, domain, group, y = rows(d=d)
    fitted = fit_correction(name, X, y, sample_domain=domain, sample_group=group)
    save_correction(tmp_path / "c.npz", fitted)
    same(fitted, load_correction(tmp_path / "c.npz"), X, domain)


def test_unseen_domains_and_names_survive(tmp_path: Path) -> None:
    X, domain, *_ = rows()
    frame = pd.DataFrame(X, columns=list("vwxyz"))
    fitted = CORAL(to="1", unseen="own").fit(frame, sample_domain=(domain == "b").astype(int))
    save_correction(tmp_path / "c.npz", fitted)
    loaded: Any = load_correction(tmp_path / "c.npz")
    with pytest.raises(ArgumentError, match="has kept no moments"):
        loaded.partial_fit(frame, sample_domain=domain)
    same(fitted, loaded, frame, np.where(domain == "b", 7, 0))
    assert list(loaded.get_feature_names_out()) == list("vwxyz")


def test_feature_maps_are_saved_too(tmp_path: Path) -> None:
    X, *_ = rows()
    fitted = Fastfood(random_state=3).fit(X)
    save_correction(tmp_path / "map.npz", fitted)
    again = load_correction(tmp_path / "map.npz")
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))


def test_the_file_is_arrays_and_json_with_a_record(tmp_path: Path) -> None:
    X, domain, *_ = rows()
    fitted, record = DomainLDA().fit(X, sample_domain=domain), {"embedding": "toy", "rows": 60}
    for kept in (record, None):
        save_correction(tmp_path / "c.npz", fitted, kept)
        assert read_record(tmp_path / "c.npz") == (kept or {})
    with np.load(tmp_path / "c.npz", allow_pickle=False) as file:
        header = json.loads(file["correction.json"].tobytes())
        assert all(file[name].dtype != object for name in file.files)
    assert header["format"] == "biasmir-correction"
    assert header["correction"]["class"] == "DomainLDA"
    assert "scikit-learn" in header["versions"]


def test_the_format_stays(tmp_path: Path) -> None:
    """A file as the first release wrote it, by hand."""
    attributes = {
        "domains_": {"list": [{"value": "a"}, {"value": "b"}]},
        "n_features_in_": {"value": 2},
        "feature_names_in_": {"labels": ["x", "y"]},
        "means_": {"array": "array_0"},
        "mean_": {"array": "array_1"},
        "maps_": {"list": [{"span_matrix": {"inner": {"array": "array_2"}}}] * 3},
    }
    parameters = {"alpha": {"value": 0.5}, "unseen": {"value": "training"}}
    correction = {"class": "CORAL", "parameters": parameters, "attributes": attributes}
    header = {"format": "biasmir-correction", "format_version": 1, "correction": correction}
    arrays = {"array_0": np.zeros((3, 2)), "array_1": np.ones(2), "array_2": np.diag([2.0, 3.0])}
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(tmp_path / "c.npz", **arrays, **{"correction.json": text})
    loaded = load_correction(tmp_path / "c.npz")
    frame = pd.DataFrame([[1.0, 1.0]], columns=["x", "y"])
    np.testing.assert_allclose(loaded.transform(frame, sample_domain=["b"]), [[2.0, 2.5]])


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    X, *_ = rows()
    with pytest.raises(NotFittedError, match="not fitted"):
        save_correction(tmp_path / "c.npz", DomainLDA())
    for wrong in (StandardScaler().fit(X), "StandardScaler()"):
        with pytest.raises(ArgumentError, match=r"StandardScaler\(\).* cannot be saved: it is no"):
            save_correction(tmp_path / "c.npz", wrong)
    drawn = Fastfood(random_state=np.random.RandomState(0)).fit(X)
    with pytest.raises(ArgumentError, match="cannot be saved: it is no correction, number or text"):
        save_correction(tmp_path / "c.npz", drawn)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    X, domain, *_ = rows()
    path = tmp_path / "c.npz"
    for absent in (path, tmp_path):
        with pytest.raises(ArgumentError, match="no saved correction can be read"):
            load_correction(absent)
    save_correction(path, DomainLDA().fit(X, sample_domain=domain))
    whole = path.read_bytes()
    broken = [b"", b"text", whole[: len(whole) // 2]]
    for header in (np.array([object()]), *(np.frombuffer(h, np.uint8) for h in (b"[1]", b"{"))):
        np.savez(path, **{"correction.json": header})
        broken.append(path.read_bytes())
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(ArgumentError, match=r"no .npz archive with .*, or a damaged") as raised:
            load_correction(path)
        assert "pickle" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "version 2"),
        ({"format": "other"}, "format 'other'"),
        ({"correction": {"class": "Popen", "parameters": {}}}, "incomplete"),
        ({"correction": {"class": "DomainLDA", "parameters": {"x": {"value": 1}}}}, "incomplete"),
    ],
)
def test_other_formats_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    header = {"format": "biasmir-correction", "format_version": 1, **change}
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(tmp_path / "c.npz", **{"correction.json": text})
    assert zipfile.is_zipfile(tmp_path / "c.npz")
    with pytest.raises(ArgumentError, match=message):
        load_correction(tmp_path / "c.npz")
