"""YAMNet and VGGish: against the SavedModel called directly, batches, downloads."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from faulty_server import FaultyServer
from small_sounds import save_vggish_like
from stand_in import tarred

from biasmir_utils.embeddings import load, read_audio
from biasmir_utils.errors import DownloadError, ModelError

tf = pytest.importorskip("tensorflow")

CLIPS = ["000046_3840.ogg", "chirp_44k.wav", "chirp_stereo.wav", "silence.wav"]


@pytest.fixture(scope="module")
def yamnet_folder(shared):
    return shared / "models" / "yamnet"


@pytest.fixture(scope="module")
def yamnet(yamnet_folder):
    return load("yamnet", yamnet_folder)


@pytest.fixture(scope="module")
def vggish_folder(tmp_path_factory):
    return save_vggish_like(tmp_path_factory.mktemp("models") / "vggish")


@pytest.mark.parametrize("clip", CLIPS)
def test_yamnet_is_the_model_called_directly(shared, yamnet_folder, yamnet, clip):
    import soundfile
    import soxr

    sound, sample_rate = soundfile.read(shared / "audio" / clip, dtype="float32", always_2d=True)
    mono = soxr.resample(sound.mean(axis=1), sample_rate, 16_000)
    _, expected, _ = tf.saved_model.load(str(yamnet_folder))(mono.astype(np.float32))
    frames = yamnet.embed(*read_audio(shared / "audio" / clip))
    assert frames.shape == expected.shape
    np.testing.assert_allclose(frames, expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", ["yamnet", "vggish"])
def test_joined_clips_give_what_each_gives_alone(yamnet_folder, vggish_folder, network):
    folder = {"yamnet": yamnet_folder, "vggish": vggish_folder}[network]
    # The edges of the windows, random lengths, and a minute, which goes through in pieces.
    rng = np.random.default_rng(8)
    edges = [15_600, 15_601, 15_600 + 7_680, 15_600 + 7_681, 15_600 + 15_360, 30_959, 65 * 7_680]
    lengths = [*edges, *rng.integers(15_600, 200_000, 8).tolist(), 960_000]
    clips = [rng.normal(scale=0.1, size=n).astype(np.float32) for n in lengths]
    alone = tf.saved_model.load(str(folder))
    for frames, clip in zip(load(network, folder).run(clips), clips, strict=True):
        expected = np.asarray(alone(clip)[1] if network == "yamnet" else alone(clip))
        assert frames.shape == expected.shape, len(clip)
        np.testing.assert_allclose(frames, expected, rtol=1e-3, atol=2e-4)


def test_a_model_that_looks_around_is_run_clip_by_clip(tmp_path):
    embedding = load("vggish", save_vggish_like(tmp_path / "model", looks_around=True))
    rng = np.random.default_rng(8)
    clips = [rng.normal(scale=0.1, size=n).astype(np.float32) for n in (20_000, 90_000)]
    alone = tf.saved_model.load(str(tmp_path / "model"))
    for frames, clip in zip(embedding.run(clips), clips, strict=True):
        np.testing.assert_allclose(frames, alone(clip).numpy(), rtol=1e-4, atol=1e-4)


def test_the_record_tells_models_apart(yamnet_folder, yamnet, vggish_folder, tmp_path):
    copy = load("yamnet", shutil.copytree(yamnet_folder, tmp_path / "elsewhere"))
    assert copy.record["sums"] == yamnet.record["sums"]
    other = load("yamnet", vggish_folder)
    assert other.record["sums"] != yamnet.record["sums"]
    with pytest.raises(ModelError, match="YAMNet gives scores"):
        other.embed(np.zeros(16_000), 16_000)
    with pytest.raises(ModelError):
        load("vggish", yamnet_folder).embed(np.zeros(16_000), 16_000)


def test_folders_that_are_no_models(tmp_path):
    with pytest.raises(ModelError, match=r"no saved_model\.pb"):
        load("yamnet", tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be loaded as yamnet"):
        load("yamnet", tmp_path).embed(np.zeros(16_000), 16_000)


@pytest.fixture
def hub(vggish_folder, monkeypatch, tmp_path):
    """A host as TF-Hub is one, with one network."""
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    monkeypatch.setenv("BIASMIR_CACHE", str(tmp_path / "cache"))
    with FaultyServer() as server:
        server.add("/vggish/1?tf-hub-format=compressed", tarred(vggish_folder))
        yield server.url, server.asked


def test_download_only_when_asked_and_only_once(hub, vggish_folder):
    address, requests = hub
    with pytest.raises(ModelError, match=rf"{address}/vggish/1 is not on .*--download") as told:
        load("vggish", f"{address}/vggish/1")
    assert "biasmir fetch" not in str(told.value), "advice for what was given"
    assert requests == []
    embedding = load("vggish", f"{address}/vggish/1", download=True)
    clip = np.random.default_rng(1).normal(scale=0.1, size=32_000)
    local = load("vggish", vggish_folder)
    np.testing.assert_array_equal(embedding.embed(clip, 16_000), local.embed(clip, 16_000))
    assert embedding.record["source"] == f"{address}/vggish/1"
    n_requests = len(requests)
    load("vggish", f"{address}/vggish/1")
    assert len(requests) == n_requests


def test_a_fetched_model_is_taken_without_asking(vggish_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("BIASMIR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BIASMIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    models = tmp_path / "data" / "models"
    with pytest.raises(ModelError, match=rf"{models}.*biasmir fetch models.*--model.*--download"):
        load("vggish")
    shutil.copytree(vggish_folder, tmp_path / "data" / "models" / "vggish")
    fetched, given = load("vggish"), load("vggish", vggish_folder)
    assert fetched.record["sums"] == given.record["sums"]
    assert fetched.record["source"] == "https://tfhub.dev/google/vggish/1"
    clip = np.random.default_rng(1).normal(scale=0.1, size=32_000)
    np.testing.assert_array_equal(fetched.embed(clip, 16_000), given.embed(clip, 16_000))
    with pytest.raises(ModelError, match="biasmir fetch models"):
        load("yamnet")


def test_a_download_that_fails(hub):
    address, _ = hub
    with pytest.raises(DownloadError, match=r"vggish/9.*--model FOLDER"):
        load("vggish", f"{address}/vggish/9".replace("vggish", "none/vggish"), download=True)
    with pytest.raises(DownloadError, match="could not be downloaded"):
        load("vggish", "http://127.0.0.1:9/vggish/1", download=True)
