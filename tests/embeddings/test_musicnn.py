"""musicnn and MSD_vgg: front end, weights, and the tags that the networks give."""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from biasmir_utils.embeddings import load
from biasmir_utils.errors import ArgumentError, ModelError

librosa = pytest.importorskip("librosa")
tf = pytest.importorskip("tensorflow")


def checkpoint(network):
    """The folder in the wheel."""
    return Path(str(distribution("musicnn").locate_file("musicnn"))) / network


def test_top_tags_arguments():
    network = load("musicnn")
    assert len(network.tags) == 50
    assert network.tags[0] == "rock"
    clip = np.random.default_rng(0).normal(scale=0.1, size=48_000)
    tags = network.top_tags(clip, 16_000, n=50)
    assert sorted(tag for tag, _ in tags) == sorted(network.tags)
    likelihoods = [likelihood for _, likelihood in tags]
    assert likelihoods == sorted(likelihoods, reverse=True)
    assert min(likelihoods) >= 0
    assert max(likelihoods) <= 1
    for n in (0, 51):
        with pytest.raises(ArgumentError, match="1 to 50"):
            network.top_tags(clip, 16_000, n=n)


def test_front_end():
    rng = np.random.default_rng(1)
    mono = rng.normal(scale=0.2, size=10 * 16_000)
    patches = load("musicnn").front_end(mono, 16_000)
    assert patches.shape == (3, 187, 96)
    assert patches.dtype == np.float32
    # By hand: Hann window, power, librosa's mel filters, log10(1 + 10,000 x).
    padded = np.pad(mono, 256)
    window = np.hanning(513)[:-1]
    starts = np.arange(3 * 187)[:, None] * 256 + np.arange(512)
    power = np.abs(np.fft.rfft(padded[starts] * window, axis=1)) ** 2
    mel = power @ librosa.filters.mel(sr=16_000, n_fft=512, n_mels=96).T
    expected = np.log10(1 + 10_000 * mel).reshape(3, 187, 96)
    np.testing.assert_allclose(patches, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["musicnn", "musicnn_penultimate", "msd_vgg"])
def test_frozen_graph_gives_what_the_checkpoint_gives(name):
    """Against the whole graph with its variables, the training flag fed as False."""
    from tensorflow.core.protobuf import meta_graph_pb2

    embedding = load(name)
    folder = checkpoint(embedding.network)
    v1 = tf.compat.v1
    meta = meta_graph_pb2.MetaGraphDef()
    meta.ParseFromString((folder / ".meta").read_bytes())
    for node in meta.graph_def.node:
        node.attr.pop("_output_shapes", None)
    wanted = v1.graph_util.extract_sub_graph(meta.graph_def, [embedding.layer])
    reader = v1.train.NewCheckpointReader(f"{folder}/")
    patches = np.random.default_rng(2).random((2, 187, 96)).astype(np.float32)
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.import_graph_def(wanted, name="")
        for node in wanted.node:
            if node.op == "VariableV2":
                tensor = graph.get_tensor_by_name(f"{node.name}:0")
                value = reader.get_tensor(node.name)
                assign = tf.raw_ops.Assign(ref=tensor, value=value)
                session.run(assign)
        expected = session.run(
            f"{embedding.layer}:0", {"model/Placeholder:0": patches, "model/Placeholder_2:0": False}
        )
    frames = embedding.run([patches])[0]
    np.testing.assert_allclose(frames, expected.reshape(2, -1), rtol=1e-4, atol=1e-5)


def test_the_package_is_not_imported():
    import subprocess
    import sys

    code = (
        "import sys, numpy as np\n"
        "from biasmir_utils.embeddings import load\n"
        "network = load('musicnn')\n"
        "assert network.tags[0] == 'rock'\n"
        "assert 'musicnn' not in sys.modules and 'tensorflow' not in sys.modules\n"
        "network.embed(np.zeros(48_000), 16_000)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == "", "TensorFlow's messages are kept out"


def test_a_local_checkpoint(tmp_path):
    source = checkpoint("MSD_vgg")
    folder = tmp_path / "copy"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"lacks .*\.meta.*pip install --no-deps musicnn"):
        load("msd_vgg", model=folder)
    for file in source.iterdir():
        shutil.copy(file, folder)
    local, wheel = load("msd_vgg", model=folder), load("msd_vgg")
    clip = np.random.default_rng(0).normal(scale=0.1, size=48_000)
    np.testing.assert_array_equal(local.embed(clip, 16_000), wheel.embed(clip, 16_000))
    assert local.record["sums"] == wheel.record["sums"]
    assert local.record["source"] == "local checkpoint copy"
    with pytest.raises(ModelError, match="cannot be read as musicnn"):
        load("musicnn", model=folder).embed(clip, 16_000)
    (folder / ".meta").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="cannot be read as msd_vgg"):
        load("msd_vgg", model=folder).embed(clip, 16_000)


def test_a_missing_wheel(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", absent)
    with pytest.raises(ModelError, match=r"pip install --no-deps musicnn==0\.1\.0"):
        load("musicnn")
