"""YAMNet and VGGish: against the SavedModel called directly, batches, downloads."""

from __future__ import annotations

import http.server
import io
import shutil
import tarfile
import threading

import numpy as np
import pytest

from biasmir_utils.corpus import Corpus
from biasmir_utils.embeddings import load, read_audio, tfhub
from biasmir_utils.errors import DownloadError, ModelError

tf = pytest.importorskip("tensorflow")

CLIPS = ["000046_3840.ogg", "chirp_44k.wav", "chirp_stereo.wav", "chirp_mono.wav", "silence.wav"]


@pytest.fixture(scope="module")
def yamnet_folder(shared):
    return shared / "models" / "yamnet"


@pytest.fixture(scope="module")
def yamnet(yamnet_folder):
    return load("yamnet", yamnet_folder)


class VggishLike(tf.Module):
    """VGGish's signature and framing with random weights.

    Log power spectra of 25 ms every 10 ms, 96 of them without overlap to 128 numbers.
    """

    def __init__(self, looks_around=False):
        super().__init__()
        weights = np.random.default_rng(0).normal(scale=0.01, size=(96 * 32, 128))
        self.weights = tf.Variable(weights.astype(np.float32))
        self.looks_around = looks_around

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, waveform):
        if self.looks_around:
            waveform = waveform / tf.reduce_max(tf.abs(waveform))
        spectra = tf.abs(tf.signal.stft(waveform, 400, 160, 512))[:, :256]
        bands = tf.math.log(tf.reduce_mean(tf.reshape(spectra, [-1, 32, 8]), axis=2) + 0.01)
        windows = tf.signal.frame(bands, 96, 96, axis=0)
        return tf.reshape(windows, [-1, 96 * 32]) @ self.weights


@pytest.fixture(scope="module")
def vggish_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "vggish"
    tf.saved_model.save(VggishLike(), str(folder))
    return folder


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


def test_yamnet_on_bundled_clips(repository, yamnet, yamnet_folder):
    """The model called directly, and the bundled means, which were made before the MP3 coding."""
    corpus = Corpus.load(repository / "data" / "demo")
    rows = np.flatnonzero(corpus.clips["audio"].notna())[::9]
    assert len(rows) >= 4
    direct = tf.saved_model.load(str(yamnet_folder))
    for row in rows:
        waveform, sample_rate = read_audio(corpus.audio_path(row))
        _, expected, _ = direct(yamnet.front_end(waveform, sample_rate))
        frames = yamnet.embed(waveform, sample_rate)
        np.testing.assert_allclose(frames, expected.numpy(), rtol=1e-3, atol=2e-4)
        bundled = corpus.embedding("yamnet")[row]
        assert np.corrcoef(frames.mean(axis=0), bundled)[0, 1] > 0.9, row


def test_yamnet_knows_what_it_hears(yamnet, yamnet_folder, shared):
    """The embeddings belong to the network whose classes describe the clip."""
    classes = (yamnet_folder / "assets" / "yamnet_class_map.csv").read_text().splitlines()[1:]
    waveform, sample_rate = read_audio(shared / "audio" / "000046_3840.ogg")
    scores, embeddings, _ = yamnet._network(yamnet.front_end(waveform, sample_rate))
    best = np.argsort(-np.asarray(scores).mean(axis=0))[:5]
    assert any("organ" in classes[index].lower() for index in best)
    np.testing.assert_allclose(
        yamnet.embed(waveform, sample_rate), embeddings.numpy(), rtol=1e-4, atol=1e-4
    )


def lengths(seed, n=12):
    """Clip lengths in samples: edges of the windows, and random ones up to a minute."""
    rng = np.random.default_rng(seed)
    edges = [15_600, 15_601, 15_600 + 7_680, 15_600 + 7_681, 15_600 + 15_360, 30_959, 65 * 7_680]
    return [*edges, *rng.integers(15_600, 200_000, n).tolist(), 960_000]


@pytest.mark.parametrize("network", ["yamnet", "vggish"])
def test_joined_clips_give_what_each_gives_alone(yamnet_folder, vggish_folder, network):
    embedding = load(network, {"yamnet": yamnet_folder, "vggish": vggish_folder}[network])
    assert embedding._can_join
    rng = np.random.default_rng(8)
    clips = [rng.normal(scale=0.1, size=n).astype(np.float32) for n in lengths(9)]
    alone = tf.saved_model.load(str(embedding._folder))
    for frames, clip in zip(embedding.run(clips), clips, strict=True):
        expected = np.asarray(embedding._embeddings(alone(clip)))
        assert frames.shape == expected.shape, len(clip)
        np.testing.assert_allclose(frames, expected, rtol=1e-3, atol=2e-4)


def test_calls_are_small_and_complete():
    counts = [3, 200, 1, 64, 0, 7]
    calls = list(tfhub._calls(counts, 64))
    assert max(sum(piece.count for piece in call) for call in calls) <= 64
    assert len(calls) == -(-sum(counts) // 64)
    seen = [(p.clip, p.first + i) for call in calls for p in call for i in range(p.count)]
    assert seen == [(clip, i) for clip, count in enumerate(counts) for i in range(count)]


def test_vggish(vggish_folder):
    embedding = load("vggish", vggish_folder)
    clip = np.random.default_rng(1).normal(scale=0.1, size=10 * 16_000)
    assert (embedding.dimension, embedding.hop) == (128, 0.96)
    assert embedding.embed(clip, 16_000).shape == (10, 128)


def test_a_model_that_looks_around_is_run_clip_by_clip(tmp_path):
    tf.saved_model.save(VggishLike(looks_around=True), str(tmp_path / "model"))
    embedding = load("vggish", tmp_path / "model")
    assert not embedding._can_join
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


class Hub(http.server.BaseHTTPRequestHandler):
    """A host as TF-Hub is one: a redirect to an archive, and 404 for the rest."""

    archive = b""
    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        if self.path.startswith("/vggish/1"):
            self.send_response(302)
            self.send_header("Location", "/store/vggish.tar.gz")
            self.end_headers()
        elif self.path == "/store/vggish.tar.gz":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.archive)))
            self.end_headers()
            self.wfile.write(self.archive)
        else:
            self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(vggish_folder, monkeypatch, tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(vggish_folder, arcname=".")
    handler = type("Handler", (Hub,), {"archive": content.getvalue(), "requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    monkeypatch.setenv("BIASMIR_CACHE", str(tmp_path / "cache"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler.requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_download_only_when_asked_and_only_once(hub, vggish_folder):
    address, requests = hub
    with pytest.raises(ModelError, match="not asked for"):
        load("vggish", f"{address}/vggish/1")
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
    with pytest.raises(ModelError) as told:
        load("vggish")
    for advice in (
        str(tmp_path / "data" / "models"),
        "biasmir fetch models",
        "--model",
        "--download",
    ):
        assert advice in str(told.value)
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
