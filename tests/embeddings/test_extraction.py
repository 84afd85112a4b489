"""Extraction: what is embedded, what is left out, what is refused, and being killed."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil
import pytest
from click.testing import CliRunner
from running import let_hang_up, run_command
from small_sounds import Levels, flat, level, make_sound_corpus as make_corpus

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus, write_embedding_file
from biasmir_utils.embeddings import FrontEnd, extract, load, read_audio
from biasmir_utils.errors import ArgumentError, CorpusError, ModelError

sf = pytest.importorskip("soundfile")
pytest.importorskip("librosa")

MODULE = "biasmir_utils.embeddings.extraction"
SEED = 20


@pytest.fixture
def corpus(tmp_path):
    return make_corpus(tmp_path / "corpus", {f"c{i:03}.wav": flat(i) for i in range(30)})


def add_clips(corpus, indices):
    """Let the table of a corpus list further clips, as a producer that goes on would."""
    table = pd.read_parquet(corpus.path / "clips.parquet")
    for i in indices:
        sf.write(corpus.path / "audio" / f"n{i}.wav", flat(i)[0], 16_000, subtype="FLOAT")
        new = {"clip": f"n{i}", "track": f"n{i}", "audio": f"audio/n{i}.wav"}
        row = table.iloc[0].to_dict() | new
        # In front of the others, so that the order has to be made anew.
        table = pd.concat([pd.DataFrame([row]), table], ignore_index=True)
    table.to_parquet(corpus.path / "clips.parquet", index=False)
    return Corpus.load(corpus.path)


def test_embeds_all_clips_in_the_order_of_the_table(corpus):
    report = extract(corpus, Levels(), progress=False)
    assert (report.n_embedded, report.n_before, len(report.notes)) == (30, 0, 0)
    new = report.corpus
    assert new.embedding_names == ["levels"]
    expected = [[level(i), 0.5, 0.5] for i in range(30)]
    np.testing.assert_allclose(new.embedding("levels"), expected, rtol=1e-6)
    np.testing.assert_allclose(
        new.frames("levels", "odd", "c003"), [[level(3), 1, 0], [level(3), 0, 1]], rtol=1e-6
    )
    record = new.model_record("levels")
    assert record["source"] == "tests"
    assert record["stored"] == {"pooling": "none", "dtype": "float32"}
    assert new.description.embedding_files[0].made_here
    with h5py.File(report.file) as file:
        keys = file["even/levels/keys"][()]
        assert [key.decode() for key in keys[::2]] == [f"c{i:03}" for i in range(0, 30, 2)]
        assert file["even/levels/features"].dtype == np.float32
    assert sorted(path.name for path in report.file.parent.iterdir()) == ["levels.h5"]


def test_a_second_run_does_nothing(corpus):
    extract(corpus, Levels(), progress=False)
    files = {p: p.stat() for p in corpus.path.rglob("*")}
    embedding = Levels()
    report = extract(corpus.path, embedding, progress=False)
    assert (report.n_embedded, report.n_before, embedding.seen) == (0, 30, [])
    for path, before in files.items():
        after = path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), path


def test_a_later_run_embeds_what_is_missing(corpus):
    extract(corpus, Levels(), progress=False)
    grown = add_clips(corpus, [40, 41, 42])
    embedding = Levels()
    report = extract(grown, embedding, progress=False)
    assert sorted(embedding.seen) == [40, 41, 42]
    assert (report.n_embedded, report.n_before) == (3, 30)
    values = report.corpus.embedding("levels")[:, 0]
    expected = [level(i) for i in [42, 41, 40, *range(30)]]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    with h5py.File(report.file) as file:
        assert file["even/levels/keys"][0] == b"n42"


def test_clips_that_name_no_sound_file_are_counted(corpus):
    table = pd.read_parquet(corpus.path / "clips.parquet")
    table["audio"] = table["audio"].mask(table["clip"].isin(["c004", "c005"]))
    table.to_parquet(corpus.path / "clips.parquet", index=False)
    report = extract(corpus.path, Levels(), progress=False)
    assert (report.n_embedded, report.n_without_audio) == (28, 2)
    assert "2 clips without a sound file" in report.summary()


@dataclass(frozen=True)
class Windowed(FrontEnd):
    """Has spectra of its own."""

    n_fft: int = 512

    @property
    def parameters(self):
        return {**super().parameters, "n_fft": self.n_fft}


def test_models_with_different_spectra_do_not_share_a_name(corpus):
    one, other = Levels(), Levels()
    one.front_end = Windowed(16_000, 0.05)
    record = extract(corpus, one, progress=False).corpus.model_record("levels")
    assert record["parameters"]["n_fft"] == 512
    assert record["parameters"]["mono"] == "mean of the channels"
    other.front_end = Windowed(16_000, 0.05, n_fft=1024)
    with pytest.raises(CorpusError, match=r"parameters\.n_fft: 512 there, 1024 now"):
        extract(corpus.path, other, progress=False)


def test_clips_that_left_the_table_stay_in_the_file(corpus):
    extract(corpus, Levels(), progress=False)
    table = pd.read_parquet(corpus.path / "clips.parquet")
    table[table["clip"] != "c004"].to_parquet(corpus.path / "clips.parquet", index=False)
    report = extract(add_clips(corpus, [50]), Levels(), progress=False)
    assert report.corpus.n_unlisted("levels") == 1
    np.testing.assert_allclose(report.corpus.frames("levels", "even", "c004")[0, 0], level(4))


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_storage(corpus, pool, dtype):
    report = extract(corpus, Levels(), pool=pool, dtype=dtype, progress=False)
    with h5py.File(report.file) as file:
        features = file["odd/levels/features"]
        assert features.dtype == dtype
        assert features.shape == (15 if pool else 30, 3)
    np.testing.assert_allclose(
        report.corpus.embedding("levels")[7], [level(7), 0.5, 0.5], rtol=1e-3
    )
    with pytest.raises(CorpusError, match="stored"):
        extract(corpus.path, Levels(), pool=not pool, dtype=dtype, progress=False)


def test_values_too_large_for_float16_after_a_finished_part(tmp_path, monkeypatch):
    sounds = {f"c{i:03}.wav": flat(40 * 512 if i == 12 else i) for i in range(30)}
    corpus = make_corpus(tmp_path / "corpus", sounds)
    monkeypatch.setattr(f"{MODULE}._CLIPS_IN_A_PART", 4)
    large = Levels(scale=2_000.0)
    with pytest.raises(ArgumentError, match="even/c012: values of levels"):
        extract(corpus, large, dtype="float16", progress=False)
    folder = corpus.path / "embeddings" / "levels.parts"
    with pytest.raises(CorpusError, match=r"unfinished parts.*float16.*float32") as told:
        extract(corpus, large, progress=False)
    assert str(told.value).endswith(f"or remove the folder {folder}")
    shutil.rmtree(folder)
    assert extract(corpus, large, progress=False).n_embedded == 30


def test_worker_processes_give_the_same(tmp_path):
    rng = np.random.default_rng(4)
    noise = {f"c{i}.wav": (rng.normal(scale=0.1, size=30_000), 44_100, {}) for i in range(12)}
    corpus = make_corpus(tmp_path / "corpus", noise)
    copy = Path(shutil.copytree(corpus.path, tmp_path / "copy"))
    alone = extract(corpus, load("mfcc"), jobs=0, progress=False)
    beside = extract(copy, load("mfcc"), jobs=2, progress=False)
    np.testing.assert_array_equal(alone.corpus.embedding("mfcc"), beside.corpus.embedding("mfcc"))
    assert alone.file.read_bytes() == beside.file.read_bytes()


@pytest.fixture(scope="module")
def kinds():
    """Every kind of sound file, with the words of the reason why it cannot be used."""
    rng = np.random.default_rng(1)
    sound = rng.normal(scale=0.1, size=(48_000, 6))
    nan = sound[:, 0].copy()
    nan[100] = np.nan
    half = io.BytesIO()
    sf.write(half, sound[:, 0], 16_000, format="WAV")
    good = {
        "mono": (sound[:, 0], 16_000, {}),
        "stereo": (sound[:, :2], 44_100, {}),
        "six": (sound, 48_000, {}),
        "rate96": (np.tile(sound[:, :2], (4, 1)), 96_000, {}),
        "flac_named_wav": (sound[:, 0], 16_000, {"format": "FLAC"}),
        "mp3_named_wav": (sound[:, 0], 44_100, {"format": "MP3"}),
        "silent": (np.zeros(48_000), 16_000, {}),
        "half": half.getvalue()[:48_000],
    }
    bad = {
        "corrupt": (rng.bytes(20_000), "cannot be decoded"),
        "empty": (b"", "zero bytes"),
        "zero_length": ((np.zeros(0), 16_000, {}), "no samples"),
        "not_a_number": ((nan, 16_000, {"subtype": "FLOAT"}), "1 samples are NaN"),
        "short": ((sound[:200, 0], 16_000, {}), "too short: 0.013 s"),
        "absent": (None, "no such sound file"),
    }
    return good, bad


@pytest.mark.filterwarnings("ignore:.*header promises")
@pytest.mark.parametrize("jobs", [0, 1])
def test_every_kind_of_sound_file(tmp_path, kinds, jobs):
    good, bad = kinds
    sounds = {**good, **{name: content for name, (content, _) in bad.items()}}
    corpus = make_corpus(
        tmp_path / "corpus", {f"{name}.wav": content for name, content in sounds.items()}
    )
    report = extract(corpus, "mfcc", jobs=jobs, progress=False)
    assert report.n_embedded == len(good)
    assert set(report.skipped["clip"]) == set(bad)
    for row in report.skipped.itertuples():
        assert bad[row.clip][1] in row.reason, row
        assert str(tmp_path) not in row.reason, "no path of this machine in the file"
        assert row.audio == f"audio/{row.clip}.wav"
    noted = report.notes[report.notes["status"] != "skipped"].set_index("clip")
    assert noted["status"].to_dict() == {"silent": "silent", "half": "cut"}
    lengths = "promises 3.000 s, the file holds 1.499 s; embedded all the same"
    assert noted["reason"]["half"] == f"its header {lengths}"
    embedding = load("mfcc")
    for name in good:
        row = corpus.clips.index[corpus.clips["clip"] == name][0]
        expected = embedding.embed(*read_audio(corpus.audio_path(row)))
        np.testing.assert_allclose(report.corpus.embedding("mfcc")[row], expected[0], rtol=1e-6)
    missing = report.corpus.missing("mfcc").set_index("clip")["reason"]
    assert set(missing.index) == set(bad)
    assert "zero bytes" in missing["empty"]
    table = pd.read_csv(report.file.with_suffix(".notes.csv"))
    assert len(table) == len(bad) + 2
    assert f"{len(bad)} clips left out" in report.summary()
    assert "zero bytes" in report.summary()

    # Of those left out only the one whose file has changed is tried again, unless asked for.
    whole = (corpus.path / "audio" / "mono.wav").read_bytes()
    (corpus.path / "audio" / "empty.wav").write_bytes(whole)
    again = extract(corpus.path, "mfcc", progress=False)
    assert (again.n_embedded, len(again.skipped)) == (1, len(bad) - 1)
    assert extract(corpus.path, "mfcc", retry=True, progress=False).n_embedded == 0
    (corpus.path / "audio" / "absent.wav").write_bytes(whole)
    again = extract(corpus.path, "mfcc", progress=False)
    assert (again.n_embedded, len(again.skipped)) == (1, len(bad) - 2)
    values = dict(zip(again.corpus.clips["clip"], again.corpus.embedding("mfcc"), strict=True))
    np.testing.assert_array_equal([values["empty"], values["absent"]], [values["mono"]] * 2)


class Failing(Levels):
    def run(self, inputs):
        frames = dict(zip(range(len(self.seen), 99), super().run(inputs), strict=False))
        if 7 in frames:
            frames[7][1, 2] = np.nan
        return [clip[: 0 if index == 9 else 2] for index, clip in frames.items()]


def test_a_network_that_gives_nothing_of_use(corpus):
    report = extract(corpus, Failing(), progress=False)
    reasons = report.skipped.set_index("clip")["reason"].to_dict()
    assert reasons == {
        "c007": "the network gave NaN or infinite values",
        "c009": "the network gave no frame",
    }
    assert report.n_embedded == 28


@dataclass(frozen=True)
class Short(FrontEnd):
    """Has too little memory for one clip, or for anything."""

    level: float

    def features(self, mono):
        if self.level in (0, round(float(mono[0]), 6)):
            raise MemoryError("Unable to allocate 9 GiB")
        return mono


class Narrow(Levels):
    """A network that cannot take one clip, or nothing."""

    level = -1.0

    def run(self, inputs):
        if any(self.level in (0, round(float(clip[0]), 6)) for clip in inputs):
            raise RuntimeError("Unable to allocate 9 GiB")
        return super().run(inputs)


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("where", [round(level(5), 6), 0])
def test_trouble_of_the_machine_is_not_laid_to_clips(corpus, where, network):
    """One clip is left out for now; where nothing goes, the run ends, and nothing is recorded."""
    embedding = Narrow() if network else Levels()
    if network:
        embedding.level = where
    else:
        embedding.front_end = Short(16_000, shortest=0.05, level=where)
    if where:
        report = extract(corpus, embedding, progress=False)
        assert report.skipped["clip"].tolist() == ["c005"]
        assert "Unable to allocate 9 GiB" in report.skipped["reason"][0]
        assert report.n_embedded == 29
    else:
        with pytest.raises(ModelError, match=r"even/c000: .*9 GiB.*Noise cannot be embedded"):
            extract(corpus, embedding, progress=False)
    again = extract(corpus.path, Levels(), progress=False)
    assert (len(again.skipped), again.n_before + again.n_embedded) == (0, 30)


def test_files_that_are_not_there_stop_the_run(corpus):
    audio = corpus.path / "audio"
    audio.rename(corpus.path / "elsewhere")
    for _ in range(2):
        with pytest.raises(CorpusError, match=r"audio: none of its 30 sound files is there"):
            extract(corpus, Levels(), progress=False)
        audio.mkdir(exist_ok=True)  # as where nothing is mounted
    assert not (corpus.path / "embeddings").exists()
    for path in (corpus.path / "elsewhere").glob("c00[02468].wav"):
        path.rename(audio / path.name)
    with pytest.raises(CorpusError, match=r"dataset 'odd': none of its 15 sound files"):
        extract(corpus, Levels(), progress=False)


def test_no_audio(tiny_corpus):
    with pytest.raises(CorpusError, match="none of the 240 clips names a sound file"):
        extract(tiny_corpus, "mfcc", progress=False)


def test_a_corpus_that_changed_meanwhile_keeps_what_is_new(corpus):
    extract(corpus, "mfcc", progress=False)
    extract(corpus, Levels(), progress=False)  # `corpus` was read before mfcc was there
    assert Corpus.load(corpus.path).embedding_names == ["mfcc", "levels"]


def test_another_model_under_the_same_name_is_refused(corpus):
    first = extract(corpus, Levels(), progress=False)
    content = first.file.read_bytes(), (corpus.path / "corpus.json").read_bytes()
    for source in (corpus.path, add_clips(corpus, [60])):
        with pytest.raises(CorpusError, match=r"another source.*scale.*1\.0.*2\.0"):
            extract(source, Levels(scale=2.0), progress=False)
    assert content == (first.file.read_bytes(), (corpus.path / "corpus.json").read_bytes())


def test_a_file_made_elsewhere_is_never_written(corpus, tmp_path):
    file = tmp_path / "published.h5"
    write_embedding_file(file, "levels", {"even": (["c000"], np.zeros((1, 3)))})
    before = file.read_bytes()
    used = corpus.add_embedding_file(file, {"levels": {"source": "published"}})
    with pytest.raises(CorpusError, match=r"published\.h5, which extraction did not make"):
        extract(used, Levels(), progress=False)
    assert file.read_bytes() == before
    target = corpus.path / "embeddings" / "levels.h5"
    target.parent.mkdir()
    shutil.copy(file, target)
    with pytest.raises(CorpusError, match="extraction did not make this file"):
        extract(corpus, Levels(), progress=False)
    assert target.read_bytes() == before


def test_only_one_process_at_a_time(corpus):
    lock = corpus.path / "embeddings" / "levels.parts" / "lock"
    lock.parent.mkdir(parents=True)
    with open(lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CorpusError, match="another process"):
            extract(corpus, Levels(), progress=False)
    assert extract(corpus, Levels(), progress=False).n_embedded == 30


def test_bad_arguments(corpus):
    for arguments, words in [
        ({"dtype": "int8"}, "dtype"),
        ({"jobs": -1}, "jobs"),
        ({"model": "x"}, "loaded already"),
        ({"scheduler": "local"}, "loaded already"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            extract(corpus, Levels(), progress=False, **arguments)


@dataclass(frozen=True)
class Crashing(FrontEnd):
    """Ends its process, as a decoder with a bug would, for one clip."""

    def features(self, mono):
        if round(float(mono.mean()) * 512) - 1 == 17:
            os._exit(3)
        return mono


def test_a_decoder_that_crashes_takes_no_other_clip_along(corpus):
    embedding = Levels()
    embedding.front_end = Crashing(16_000, shortest=0.05)
    report = extract(corpus, embedding, jobs=2, progress=False)
    assert embedding.seen == [i for i in range(30) if i != 17]
    assert report.skipped["clip"].tolist() == ["c017"]
    assert "crashed" in report.skipped["reason"][0]


@pytest.mark.parametrize("option", ["jobs", "scheduler"])
def test_a_script_without_the_guard_is_told_so(corpus, tmp_path, option):
    if option == "scheduler":
        pytest.importorskip("distributed")
    value = {"jobs": "1", "scheduler": "'local'"}[option]
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\n"
        "from biasmir_utils.embeddings import extract\n"
        "from biasmir_utils.errors import ArgumentError\n"
        "try:\n"
        f"    extract(sys.argv[1], 'mfcc', {option}={value}, progress=False)\n"
        "except ArgumentError as error:\n"
        "    print('refused:', error)\n"
    )
    run = subprocess.run(
        [sys.executable, script, corpus.path], capture_output=True, text=True, check=False
    )
    assert "worker processes end as they start" in run.stdout, run.stderr
    assert Corpus.load(corpus.path).embedding_names == []


@pytest.mark.parametrize("jobs", [0, 1])
def test_preparation_does_not_run_ahead(corpus, jobs, monkeypatch):
    """However slow the network is, only so many clips wait for it."""
    monkeypatch.setattr(f"{MODULE}._WAITING_BYTES", 4 * 1_600 * 6)  # six of these clips
    monkeypatch.setattr(f"{MODULE}._CLIPS_IN_A_BATCH", 1)
    taken = []

    class Watching(Levels):
        def run(self, inputs):
            ahead.append(len(taken) - len(self.seen))
            return super().run(inputs)

    ahead = []
    send = "concurrent.futures.ProcessPoolExecutor.submit" if jobs else f"{MODULE}.decode"
    plain = ProcessPoolExecutor.submit if jobs else import_module(MODULE).decode
    monkeypatch.setattr(send, lambda *given: taken.append(given) or plain(*given))
    assert extract(corpus, Watching(), jobs=jobs, progress=False).n_embedded == 30
    assert len(ahead) == len(taken) == 30
    assert max(ahead) <= 1 + 6 * jobs


# A real extraction in a process of its own, which ends itself by SIGKILL where it is told to.
SCRIPT = """
import os, pathlib, signal, sys
sys.path.insert(0, {tests!r})
import small_sounds
from biasmir_utils.embeddings import extract, extraction

folder, log, jobs, where, count = sys.argv[1:]
extraction._CLIPS_IN_A_PART, extraction._CLIPS_IN_A_BATCH, extraction._FEW = 4, 2, 1
left = int(count)

def kill(place):
    global left
    if place == where:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def around(owner, name):
    plain = getattr(owner, name)
    def wrapped(*args, **kwargs):
        kill("before " + name)
        result = plain(*args, **kwargs)
        kill("after " + name)
        return result
    setattr(owner, name, wrapped)

if __name__ == "__main__":
    around(os, "replace")
    around(pathlib.Path, "unlink")
    around(small_sounds.Levels, "run")
    extract(folder, small_sounds.Levels(log=log), jobs=int(jobs), progress=False)
"""


def start(script, folder, log, jobs, where, count):
    arguments = [sys.executable, script, folder, log, jobs, where, count]
    command = [str(argument) for argument in arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=let_hang_up)


def finished(folder):
    """The clips that an interrupted extraction has finished: in parts, or in the target."""
    found = set()
    for path in (folder / "embeddings").glob("**/[!.]*.h5"):
        with h5py.File(path) as file:
            for dataset in file:
                found |= {int(key[1:]) for key in file[f"{dataset}/levels/keys"][()]}
    return found


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "run.py"
    path.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1])), encoding="utf-8")
    return path


@pytest.fixture
def prepared(tmp_path):
    """A function that makes a corpus of n clips and extracts from a copy of it."""

    def made(n):
        corpus = make_corpus(tmp_path / "corpus", {f"c{i:03}.wav": flat(i) for i in range(n)})
        whole = Path(shutil.copytree(corpus.path, tmp_path / "whole"))
        return corpus.path, tmp_path / "log", extract(whole, Levels(), progress=False)

    return made


def test_killed_at_ten_random_moments(prepared, script):
    folder, log, expected = prepared(140)
    rng = np.random.default_rng(SEED)
    # While embedding, while a part is written, and while the parts are joined and removed.
    moments = [
        (str(place), int(rng.integers(1, 5)))
        for place in rng.permutation(
            ["before run", "after run", "before replace", "after replace"] * 2
            + ["before unlink", "after unlink"]
        )
    ]
    n_killed, n_logged = 0, 0
    for where, count in [*moments, ("nowhere", 1)]:
        done = finished(folder)
        process = start(script, folder, log, 0, where, count)
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
        n_killed += process.returncode != 0
        entries = log.read_text().split() if log.is_file() else []
        again = {int(entry) for entry in entries[n_logged:]} & done
        assert not again, f"{again} were finished, and are embedded again after {where} {count}"
        n_logged = len(entries)
        assert done <= finished(folder)
        Corpus.load(folder)
    assert n_killed == len(moments)
    assert process.returncode == 0
    assert_whole(folder, expected)
    assert len(finished(folder)) == 140


def assert_whole(folder, expected):
    """The embedding file is that of an extraction without interruption; nothing else is left."""
    assert sorted(path.name for path in (folder / "embeddings").iterdir()) == ["levels.h5"]
    assert (folder / "embeddings" / "levels.h5").read_bytes() == expected.file.read_bytes()
    described = [
        json.loads((f / "corpus.json").read_text()) for f in (folder, expected.corpus.path)
    ]
    assert described[0] == described[1]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGHUP])
def test_workers_end_with_a_killed_parent(prepared, script, end):
    folder, log, expected = prepared(40)
    # The network stops for good, so that the kill comes from outside and at work.
    text = script.read_text().replace("os.kill(os.getpid(), signal.SIGKILL)", "signal.pause()")
    script.write_text(text)
    process = start(script, folder, log, 2, "before run", 4)
    try:
        parts = folder / "embeddings" / "levels.parts"
        while not (len(finished(folder)) == 4 and list(parts.glob("part-*.h5"))):
            assert process.poll() is None, process.communicate()[1].decode()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
    finally:
        process.send_signal(end)
        process.communicate()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, "worker processes outlive the extraction"
    extract(folder, Levels(), jobs=2, progress=False)
    assert_whole(folder, expected)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_part_is_made_anew(prepared, script, damage):
    folder, log, expected = prepared(10)
    start(script, folder, log, 0, "before replace", 4).communicate()
    part = sorted((folder / "embeddings" / "levels.parts").glob("part-*.h5"))[0]
    content = bytearray(part.read_bytes())
    content[content.index(np.float32([level(0), 1, 0]).tobytes())] ^= 1
    part.write_bytes({"cut": content[:-40], "empty": b"", "flipped": content}[damage])
    extract(folder, Levels(), progress=False)
    assert_whole(folder, expected)


def test_what_a_stopped_retry_finished_is_kept(tmp_path, monkeypatch):
    corpus = make_corpus(tmp_path / "corpus", {f"c{i}.wav": flat(i) for i in range(4)})
    path = corpus.path / "audio" / "c3.wav"
    sound = path.read_bytes()
    path.unlink()
    assert extract(corpus, Levels(), progress=False).skipped["clip"].tolist() == ["c3"]
    path.write_bytes(sound)
    keep = os.replace

    def stop(temporary, target):
        keep(temporary, target)
        if Path(target).name.startswith("part-"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            extract(corpus.path, Levels(), retry=True, progress=False)
    embedding = Levels()
    report = extract(corpus.path, embedding, progress=False)
    assert (embedding.seen, report.n_embedded, report.n_before) == ([], 0, 4)
    assert len(report.skipped) == len(report.corpus.missing("levels")) == 0
    np.testing.assert_allclose(report.corpus.embedding("levels")[3, 0], level(3))


def run(*arguments):
    return CliRunner().invoke(main, ["extract", *map(str, arguments)])


def test_command(corpus):
    command = ("extract", corpus.path, "--embedding", "mfcc", "--jobs", 0, "--pool", "--quiet")
    assert "mfcc: 30 clips embedded" in run_command(*command)
    assert "mfcc: 0 clips embedded, 30 there already" in run_command(*command)
    again = run(corpus.path, "--embedding", "mfcc")
    assert again.exit_code == 1
    assert "Error: " in again.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{corpus}", "--embedding", "mfcc", "clap"], 1, "unknown embedding 'clap'"),
        (["--embedding", "mfcc", "{corpus}"], 2, "It stands before --embedding"),
        (["{corpus}", "--embedding", "mfcc", "yamnet", "--model", "x"], 1, "one embedding"),
        (["{corpus}"], 2, "--embedding"),
    ],
)
def test_command_errors(corpus, arguments, code, words):
    result = run(*(argument.format(corpus=corpus.path) for argument in arguments))
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output
    assert Corpus.load(corpus.path).embedding_names == []
