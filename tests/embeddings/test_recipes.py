"""The recipes of the page on models, run as they stand there, on tiny models made here."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_sounds import flat, make_sound_corpus

from biasmir_utils.datasets import import_corpus
from biasmir_utils.embeddings import extract

PAGE = (Path(__file__).resolve().parents[2] / "book" / "models.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def needed(*packages: str) -> None:
    """Skip where a package is not installed, but not in the workflow that installs them."""
    for package in packages:
        if "BIASMIR_RECIPES" in os.environ:
            importlib.import_module(package)
        pytest.importorskip(package, reason=f"{package}: run by the workflow recipes.yml")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the modules of the page, from which Python imports."""
    for code in CODE:
        for name in re.findall(r"\A# (\w+\.py)$", code, re.MULTILINE):
            (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def corpus(tmp_path):
    return make_sound_corpus(tmp_path / "corpus", {f"c{i}.wav": flat(i, 0.5) for i in range(4)})


def test_a_model_of_hugging_face(folder, corpus):
    needed("torch", "transformers")
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    layers = {"num_hidden_layers": 6, "num_conv_pos_embedding_groups": 4}
    sizes = {"conv_dim": (8, 8), "conv_kernel": (10, 3), "conv_stride": (5, 2)}
    Wav2Vec2Model(Wav2Vec2Config(**small, **layers, **sizes)).save_pretrained(folder / "tiny")
    Wav2Vec2FeatureExtractor().save_pretrained(folder / "tiny")
    report = extract(corpus, "layers:Layer", model=folder / "tiny", progress=False)
    assert report.corpus.embedding("Layer").shape == (4, 16)
    assert report.corpus.model_record("Layer")["sample_rate"] == 16_000


def test_an_onnx_file(folder, corpus):
    needed("onnx", "onnxruntime")
    from onnx import TensorProto, helper, numpy_helper, save

    weights = numpy_helper.from_array(np.float32([[[1.0]], [[2.0]]]), "weights")
    nodes = [
        helper.make_node("Unsqueeze", ["sound", "axis"], ["channel"]),
        helper.make_node("Conv", ["channel", "weights"], ["rows"], strides=[2_000]),
        helper.make_node("Transpose", ["rows"], ["frames"], perm=[0, 2, 1]),
    ]
    given = helper.make_tensor_value_info("sound", TensorProto.FLOAT, [1, "n"])
    made = helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, "frames", 2])
    axis = numpy_helper.from_array(np.int64([1]), "axis")
    graph = helper.make_graph(nodes, "tiny", [given], [made], [weights, axis])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        folder / "tiny.onnx",
    )
    report = extract(corpus, "network:Network", model=folder / "tiny.onnx", progress=False)
    frames = report.corpus.frames("Network", "even", "c0")
    np.testing.assert_allclose(frames, [[1 / 512, 2 / 512]] * 4, rtol=1e-4)


def test_clips_of_mirdata(tmp_path, monkeypatch):
    needed("mirdata")
    import mirdata

    keys = {"001__[pia][nod][cla]0001__1": "pia", "002__[voi][dru][pop_roc]0002__1": "voi"}
    paths = {
        key: {
            "audio": (f"IRMAS-TrainingData/{code}/{key}.wav", None),
            "annotation": (f"IRMAS-TrainingData/{code}/{key}.wav", None),
        }
        for key, code in keys.items()
    }
    plain = mirdata.initialize

    def initialize(name, data_home):
        # The index itself is a download.
        dataset = plain(name, data_home=data_home)
        dataset.__dict__["_index"] = {"version": "1.0", "tracks": paths}
        return dataset

    monkeypatch.setattr(mirdata, "initialize", initialize)
    monkeypatch.chdir(tmp_path)
    for path in paths.values():
        sound = tmp_path / "irmas" / path["audio"][0]
        sound.parent.mkdir(parents=True, exist_ok=True)
        sound.touch()
    (code,) = (code for code in CODE if "mirdata" in code)
    exec(code, {})
    table = pd.read_csv("clips.csv")
    assert table["track"].tolist() == ["001__[pia][nod][cla]0001", "002__[voi][dru][pop_roc]0002"]
    assert table["group"].tolist() == ["cla", "pop_roc"]
    corpus = import_corpus("corpus", "clips.csv", labels=["piano", "voice"])
    assert corpus.clips[["piano", "voice"]].to_numpy().tolist() == [[1, 0], [0, 1]]
