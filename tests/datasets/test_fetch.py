"""`biasmir fetch`, from the addresses of the real hosts, for which a server here stands in."""

from __future__ import annotations

import fcntl
import gzip
import json
import random
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pooch
import pytest
from click.testing import CliRunner
from faulty_server import Drop, FaultyServer, Redirect, Send, Status
from running import run_command
from stand_in import (
    BUCKET,
    DOI,
    IRMAS_NAMES,
    PaperFiles,
    expect,
    irmas_archive,
    openmic_archive,
    remote_file,
    serve,
    sum_of,
    tar_gz,
    toy,
    toy_command,
)

from biasmir_utils.cli import main
from biasmir_utils.datasets import DATASETS, RemoteFile, default_root, fetch, fetched_model
from biasmir_utils.errors import ArgumentError, DownloadError

SOURCES = ["openmic", "irmas", "paper-embeddings", "paper-split", "models"]
KEYS = ["000046_3840", "000135_483840", "012345_0"]
YAMNET = tar_gz(
    {"./saved_model.pb": b"yamnet", "./variables/variables.index": random.Random(0).randbytes(2000)}
)
WEIGHTS = random.Random(0).randbytes(50_000)
CONTENT = {
    "openmic-2018-v1.0.0.tgz": openmic_archive(
        [{"sample_key": key, "track_genres": ["Jazz"]} for key in KEYS],
        [(key, "piano", 0.9) for key in KEYS],
        {KEYS[0]: "train", KEYS[1]: "train", KEYS[2]: "test"},
    ),
    "IRMAS-TrainingData.zip": irmas_archive(),
    "embeddings.h5": random.Random(0).randbytes(300_000),
    "irmas_train.csv": b"043__[cel][nod][cla]0029__1\n" * 2,
    "irmas_test.csv": b"118__[flu][dru][pop_roc]0467__1\n" * 2,
    "yamnet_1.tar.gz": YAMNET,
    "vggish_1.tar.gz": tar_gz({"saved_model.pb": b"vggish", "assets": None}),
    "openl3_audio_mel256_music-v0_4_0.h5.gz": gzip.compress(WEIGHTS, mtime=0),
}
PLACES = {name: remote_file(name).to for name in CONTENT}
RECORD = "https://zenodo.org/api/records/8126908"


@pytest.fixture(autouse=True)
def table(monkeypatch):
    """The tables of remote files with the sums of the small files; no variables of the user's."""
    expect(CONTENT, monkeypatch)
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("BIASMIR_BASE_URL", "BIASMIR_DATA", "BIASMIR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("biasmir_utils.datasets._download.ATTEMPTS", 2)
    monkeypatch.setattr("biasmir_utils.datasets._download.WAIT", 0)


@pytest.fixture
def hosts(tmp_path_factory, monkeypatch):
    """The real hosts, behind a proxy, with small files at the real addresses."""
    with serve(PaperFiles(CONTENT), tmp_path_factory.getbasetemp(), monkeypatch) as server:
        yield server


@pytest.fixture
def mirror():
    """A server that has every file right under its address."""
    with FaultyServer() as server:
        for name, content in CONTENT.items():
            server.add(f"/{name}", content)
        yield server


@pytest.fixture
def offline(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there


@pytest.fixture
def disk_folder(tmp_path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "root"


def said_by(names: list[str], root: Path, **how: object) -> str:
    said: list[str] = []
    fetch(names, root, say=said.append, **how)
    return "\n".join(said)


def run(*arguments: object):
    return CliRunner().invoke(main, ["fetch", *map(str, arguments)])


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def assert_nothing_half(root: Path):
    """No partial file or folder, nor one of a temporary name."""
    strange = [p for p in root.rglob("*") if p.name.startswith((".", "tmp")) or "partial" in p.name]
    assert [p for p in strange if p.name != ".lock"] == []


def kept_sum(root: Path) -> dict[str, object]:
    return json.loads((root / "downloads" / "sums.json").read_text())["embeddings.h5"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_comes_from_its_real_address_and_a_second_call_does_nothing(source, hosts, root):
    output = run_command("fetch", source, "--root", root)
    dataset = DATASETS[source]
    assert output.startswith(f"{dataset.title}\n  licence: {dataset.licence}\n")
    assert [asked.status for asked in hosts.asked if asked.status >= 400] == []
    for file in dataset.files:
        assert str(root / PLACES[file.name]) in output or f"{file.name}:" in output
        assert (root / PLACES[file.name]).exists()
        address = f"{BUCKET}/{file.name}" if "tfhub" in file.url else file.url
        assert hosts.sent(address) == len(CONTENT[file.name])
    assert_nothing_half(root)

    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
    hosts.asked.clear()
    again = run_command("fetch", source, "--root", root)
    assert again.count("there already, checked") == len(dataset.files)
    assert hosts.asked == []
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()} == before


def test_all_sources_at_once_give_the_layout_that_prepare_reads(hosts, root, capsys):
    assert fetch(SOURCES, root) == {name: root / place for name, place in PLACES.items()}
    assert PLACES["vggish_1.tar.gz"] == "models/vggish"
    found = tree(root)
    assert "paper/irmas_test.csv" in found
    assert "openmic-2018/audio/000/000046_3840.ogg" in found
    assert "openmic-2018/partitions/split01_test.csv" in found
    assert f"IRMAS-TrainingData/cel/{IRMAS_NAMES[0]}.wav" in found
    assert (root / "paper" / "embeddings.h5").read_bytes() == CONTENT["embeddings.h5"]
    assert fetched_model("yamnet", root) == root / "models" / "yamnet"
    assert fetched_model("vggish", root) == root / "models" / "vggish"
    openl3 = fetched_model("openl3", root)
    assert openl3 is not None
    assert openl3.read_bytes() == WEIGHTS
    fetch(["models"], root / "elsewhere", files=["vggish_1.tar.gz"])  # one file of a source
    assert [p.name for p in (root / "elsewhere" / "models").iterdir()] == ["vggish"]
    assert fetched_model("yamnet", root / "elsewhere") is None
    assert fetched_model("openl3", root / "elsewhere") is None
    assert capsys.readouterr().err == ""
    # The root of another machine can be the files on disk.
    hosts.asked.clear()
    other = root / "other"
    fetch(["openmic", "paper-split"], other, from_dir=root)
    assert hosts.asked == []
    assert tree(other / "openmic-2018") == tree(root / "openmic-2018")
    assert (other / "paper" / "irmas_train.csv").read_bytes() == CONTENT["irmas_train.csv"]


def test_the_sum_and_licence_of_the_embeddings_are_asked_of_the_record_and_kept(hosts, root):
    hosts.fail(RECORD, Drop(after=3))  # it is asked again
    text = said_by(["paper-embeddings"], root)
    assert "licence: not known to this program" in text
    assert "  licence, as the record states it: cc-by-4.0" in text
    assert kept_sum(root)["sum"] == sum_of(CONTENT["embeddings.h5"])
    assert kept_sum(root)["told_by"] == f"doi:{DOI}"
    assert "licence: cc-by-4.0\n" in said_by(["paper-embeddings"], root)


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (Status(404), "answered 404"),
        (Send(b"no list"), r"lists no embeddings\.h5 with a sum"),
        (Send(b'{"files": [{"key": "other.h5", "checksum": "md5:0"}]}'), "lists no embeddings"),
        (Send(b"<html>", "text/html"), "a web page came"),
        (Redirect("http://zenodo.org/x"), "unprotected address"),
    ],
)
def test_a_record_without_the_sum_is_an_error(fault, match, hosts, root, monkeypatch):
    monkeypatch.setenv("http_proxy", hosts.url)
    hosts.add("http://zenodo.org/x", b"{}")
    hosts.fail(RECORD, fault)
    with pytest.raises(DownloadError, match=match) as caught:
        fetch(["paper-embeddings"], root)
    assert RECORD in str(caught.value)
    assert not (root / "paper").exists()
    fetch(["paper-embeddings"], root)
    assert (root / "paper" / "embeddings.h5").is_file()


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_mirror_has_the_files_under_their_own_names(how, mirror, root, monkeypatch):
    arguments = ["openmic", "irmas", "paper-split", "models", "--root", root]
    if how == "option":
        arguments += ["--base-url", mirror.url + "/"]
    else:
        monkeypatch.setenv("BIASMIR_BASE_URL", mirror.url)
    run_command("fetch", *arguments)
    assert {asked.address for asked in mirror.asked} == {
        f"/{name}" for name in CONTENT if name != "embeddings.h5"
    }
    for name in CONTENT:
        assert (root / PLACES[name]).exists() == (name != "embeddings.h5")


@pytest.mark.parametrize("mirror", [None, "https://github.com/mirror"])
def test_hosts_and_mirrors_are_held_to_the_sum_of_the_record(mirror, hosts, root):
    address = f"{mirror}/embeddings.h5" if mirror else remote_file("embeddings.h5").url
    hosts.add(address, b"forged")
    with pytest.raises(DownloadError, match="not the file that was expected"):
        fetch(["paper-embeddings"], root, base_url=mirror)
    assert_nothing_half(root)
    assert not (root / "paper" / "embeddings.h5").exists()


@pytest.fixture
def unchecked(disk_folder, root, monkeypatch):
    """Let embeddings come from a folder while the record is not in reach."""

    def bring(content: bytes = CONTENT["embeddings.h5"]) -> None:
        (disk_folder / "embeddings.h5").write_bytes(content)
        with monkeypatch.context() as patch:
            for name in ("https_proxy", "HTTPS_PROXY"):
                patch.setenv(name, "http://127.0.0.1:9")
            for _ in range(2):  # the second call finds the file, and is as unsure
                text = said_by(["paper-embeddings"], root, from_dir=disk_folder)
                assert "WARNING: embeddings.h5 is UNCHECKED" in text
                assert "no sum is published" not in text
                assert "there already, checked" not in text

    return bring


def test_a_check_that_could_not_be_made_is_made_up(unchecked, hosts, root):
    unchecked()
    assert (kept_sum(root)["unchecked"], kept_sum(root)["told_by"]) == (True, "nobody")
    text = said_by(["paper-embeddings"], root)
    assert "there already, checked" in text
    assert "unchecked" not in kept_sum(root)
    assert kept_sum(root)["sum"] == sum_of(CONTENT["embeddings.h5"])
    assert hosts.requests(remote_file("embeddings.h5").url) == []


def test_a_wrong_file_that_came_unchecked_is_found_out(unchecked, hosts, root):
    unchecked(b"forged")
    text = said_by(["paper-embeddings"], root)
    assert "WARNING" in text
    assert "embeddings.h5: NOT the file" in text
    assert (root / "paper" / "embeddings.h5").read_bytes() == CONTENT["embeddings.h5"]


def test_a_wrong_file_in_the_folder_to_take_from_stays_there(unchecked, hosts, root):
    unchecked(b"forged")
    with pytest.raises(
        DownloadError, match=r"paper/embeddings\.h5: not the file that was expected"
    ):
        fetch(["paper-embeddings"], root, from_dir=root)
    assert (root / "paper" / "embeddings.h5").read_bytes() == b"forged"  # never written to


def test_an_unchecked_file_that_was_lost_or_damaged_comes_again(unchecked, mirror, offline, root):
    unchecked(b"first")
    (root / "paper" / "embeddings.h5").unlink()
    unchecked(b"second")  # nobody said that the first was right
    assert (root / "paper" / "embeddings.h5").read_bytes() == b"second"
    (root / "paper" / "embeddings.h5").write_bytes(b"damage")
    text = said_by(["paper-embeddings"], root, base_url=mirror.url)
    assert "WARNING: embeddings.h5 is UNCHECKED" in text
    assert (root / "paper" / "embeddings.h5").read_bytes() == CONTENT["embeddings.h5"]


def test_files_on_disk_are_used_and_left_alone(disk_folder, root, offline, monkeypatch):
    monkeypatch.setenv("BIASMIR_BASE_URL", "http://127.0.0.1:9")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in disk_folder.iterdir()}
    results = fetch(SOURCES, root, from_dir=disk_folder)
    assert all(path.exists() for path in results.values())
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in disk_folder.iterdir()} == before
    # Archives are unpacked from where they are, not copied.
    assert [p for p in tree(root / "downloads") if not p.endswith(".json")] == []
    # The record of the embeddings is out of reach.
    again = said_by(SOURCES, root, from_dir=disk_folder)
    assert again.count("there already, checked") == len(CONTENT) - 1


@pytest.mark.parametrize("name", ["irmas_train.csv", "IRMAS-TrainingData.zip"])
def test_a_wrong_file_on_disk_is_named(name, disk_folder, root):
    source = "irmas" if name.endswith("zip") else "paper-split"
    (disk_folder / name).write_bytes(CONTENT[name][:-1])
    with pytest.raises(DownloadError, match="not the file that was expected; its sum is") as caught:
        fetch([source], root, from_dir=disk_folder)
    assert str(disk_folder / name) in str(caught.value)
    assert not (root / PLACES[name]).exists()


def test_a_file_that_is_not_on_disk_is_named_with_its_address(disk_folder, root):
    (disk_folder / "irmas_test.csv").unlink()
    with pytest.raises(DownloadError, match=r"irmas_test\.csv: no such file; get it from https://"):
        fetch(["paper-split"], root, from_dir=disk_folder)
    with pytest.raises(ArgumentError, match="no such folder"):
        fetch(["paper-split"], root, from_dir=disk_folder / "absent")


FAULTS = {
    "wrong sum": Send(b"x" * 1000),
    "truncated": Send(CONTENT["IRMAS-TrainingData.zip"][:-100]),
    "dropped": Drop(after=1000),
    "a web page": Send(b"<html>", "text/html"),
    "an unprotected redirect": Redirect("http://example.org/IRMAS-TrainingData.zip"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_failure_there_is_no_good_name_and_the_next_call_succeeds(
    fault, hosts, root, monkeypatch
):
    monkeypatch.setattr("biasmir_utils.datasets._download.ATTEMPTS", 1)
    monkeypatch.setenv("http_proxy", hosts.url)
    hosts.add("http://example.org/IRMAS-TrainingData.zip", CONTENT["IRMAS-TrainingData.zip"])
    address = remote_file("IRMAS-TrainingData.zip").url
    hosts.fail(address, FAULTS[fault])
    failed = run("irmas", "--root", root)
    assert failed.exit_code == 1
    assert failed.stderr.startswith(f"Error: {address}: ")
    assert len(failed.stderr.splitlines()) == 1
    assert not (root / "IRMAS-TrainingData").exists()
    assert not (root / "downloads" / "IRMAS-TrainingData.zip").exists()
    run_command("fetch", "irmas", "--root", root)
    assert len(tree(root / "IRMAS-TrainingData")) == len(IRMAS_NAMES) + 1
    assert_nothing_half(root)


def test_parts_that_do_not_fit_and_a_damaged_file_are_fetched_anew(hosts, root, monkeypatch):
    file = root / "paper" / "irmas_train.csv"
    monkeypatch.setattr("biasmir_utils.datasets._download.ATTEMPTS", 1)
    hosts.fail(remote_file("irmas_train.csv").url, Drop(after=20))
    with pytest.raises(DownloadError):
        fetch(["paper-split"], root)
    for spoilt, content in ((f"{file.name}.partial", b"#" * 20), (file.name, b"cut")):
        file.with_name(spoilt).write_bytes(content)
        fetch(["paper-split"], root)
        assert file.read_bytes() == CONTENT["irmas_train.csv"]


def test_a_model_without_a_published_sum_is_recorded_then_held_to_it(hosts, root):
    text = said_by(["models"], root)
    value = sum_of(YAMNET, "sha256")
    assert f"yamnet_1.tar.gz: no sum is published for it; {value} was recorded" in text
    assert "openl3_audio_mel256_music-v0_4_0.h5.gz: no sum is published" not in text
    # The archive and the unpacked folder are lost; the address has another file by now.
    (root / "downloads" / "yamnet_1.tar.gz").unlink()
    (root / "models" / "yamnet" / "saved_model.pb").unlink()
    hosts.add(f"{BUCKET}/yamnet_1.tar.gz", tar_gz({"saved_model.pb": b"another"}))
    with pytest.raises(DownloadError, match=r"not the file that was expected.*sha256"):
        fetch(["models"], root)
    assert not (root / "models" / "yamnet" / "saved_model.pb").exists()
    hosts.add(f"{BUCKET}/yamnet_1.tar.gz", YAMNET)
    fetch(["models"], root)
    assert (root / "models" / "yamnet" / "saved_model.pb").read_bytes() == b"yamnet"


@pytest.mark.parametrize(
    "bad",
    [YAMNET[:-200], b"not an archive", tar_gz({"other.pb": b"x"})],
    ids=["truncated", "no archive", "another archive"],
)
def test_a_bad_first_download_of_a_model_is_not_recorded(bad, hosts, root):
    hosts.fail(f"{BUCKET}/yamnet_1.tar.gz", Send(bad))
    with pytest.raises(DownloadError, match=r"yamnet_1\.tar\.gz: "):
        fetch(["models"], root)
    assert not (root / "models" / "yamnet").exists()
    assert not (root / "downloads" / "sums.json").exists()
    fetch(["models"], root)
    assert (root / "models" / "yamnet" / "saved_model.pb").read_bytes() == b"yamnet"


def test_archives_may_be_deleted_and_lost_files_come_back(hosts, root):
    fetch(["openmic"], root)
    archive = root / "downloads" / "openmic-2018-v1.0.0.tgz"
    audio = root / "openmic-2018" / "audio" / "000" / "000046_3840.ogg"
    content = audio.read_bytes()
    hosts.asked.clear()
    audio.unlink()
    fetch(["openmic"], root)  # from the archive
    assert audio.read_bytes() == content
    archive.unlink()
    fetch(["openmic"], root)  # nothing to do
    assert hosts.asked == []
    audio.write_bytes(content[:-1])
    fetch(["openmic"], root)  # from the network
    assert audio.read_bytes() == content
    assert len(hosts.asked) == 1


def test_archives_can_be_discarded(hosts, root):
    run_command("fetch", "openmic", "models", "--root", root, "--discard-archives")
    assert not [p for p in tree(root / "downloads") if p.endswith(("gz", "zip"))]
    hosts.asked.clear()
    run_command("fetch", "openmic", "models", "--root", root)
    assert hosts.asked == []


def test_records_that_cannot_be_read_are_made_again(hosts, root):
    fetch(["models"], root)
    for record in (root / "downloads").glob("*.json"):
        record.write_text("{")
    hosts.asked.clear()
    fetch(["models"], root)
    assert hosts.asked == []  # the archives are still there
    assert json.loads((root / "downloads" / "sums.json").read_text())["yamnet_1.tar.gz"]


def test_free_disk_is_checked_before_anything_is_asked(hosts, root, monkeypatch):
    file = remote_file("openmic-2018-v1.0.0.tgz")
    toy(monkeypatch, replace(file, size=2 * 10**18, unpacked=10**18))
    with pytest.raises(DownloadError, match=r"root: fetching openmic.* takes about 3e\+09 GB, and"):
        fetch(["toy"], root)
    assert hosts.asked == []


def test_a_process_killed_while_unpacking_leaves_no_good_name(mirror, root, monkeypatch):
    content = tar_gz({"./saved_model.pb": b"x", **{f"./part{i}": b"x" * 100 for i in range(4000)}})
    file = RemoteFile("big.tar.gz", mirror.add("/big.tar.gz", content), "big", unpacked=10**7)
    with subprocess.Popen(toy_command(file, root)) as process:
        while not list(root.glob(".big.*.partial/content/part100")):
            assert process.poll() is None
        process.kill()
    assert not (root / "big").exists()
    toy(monkeypatch, file)
    fetch(["toy"], root)
    assert len(tree(root / "big")) == 4001
    assert len(mirror.requests("/big.tar.gz")) == 1
    assert_nothing_half(root)


def test_two_fetches_in_one_root_are_kept_apart(mirror, root, monkeypatch):
    # The lock belongs to an open file, so one process can stand for two.
    held = ExitStack()
    (root / "downloads").mkdir(parents=True)
    lock = held.enter_context((root / "downloads" / ".lock").open("a+b"))
    fcntl.flock(lock, fcntl.LOCK_EX)
    for wait in (0, 1e-9):
        with pytest.raises(DownloadError, match="another `biasmir fetch` is at work here"):
            fetch(["paper-split"], root, base_url=mirror.url, wait=wait)
    assert mirror.asked == []

    def say(line: str) -> None:
        said.append(line)
        if "waiting for it, 60 s at most" in line:
            held.close()

    said: list[str] = []
    assert fetch(["paper-split"], root, base_url=mirror.url, wait=60, say=say)
    assert any("waiting for it" in line for line in said)


def test_the_place_can_be_set(mirror, tmp_path, monkeypatch):
    assert default_root() == Path(pooch.os_cache("biasmir")) / "data"
    monkeypatch.setenv("BIASMIR_CACHE", str(tmp_path / "cache"))
    assert default_root() == tmp_path / "cache" / "data"
    monkeypatch.setenv("BIASMIR_DATA", str(tmp_path / "data"))
    assert default_root() == tmp_path / "data"
    fetch(["paper-split"], base_url=mirror.url)
    assert (tmp_path / "data" / "paper" / "irmas_train.csv").is_file()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match=r"file/downloads: .*choose a folder that can be"):
        fetch(["paper-split"], tmp_path / "file", base_url=mirror.url)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["nothing"], "no source 'nothing'; there are "),
        (["irma"], "Did you mean 'irmas'?"),
        (["irmas", "--base-url", "ftp://x"], "expected an http:// or https:// address"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, match, root):
    done = run(*arguments, "--root", root)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert match in done.stderr
    assert not root.exists()


def test_the_table_of_remote_files_is_sound():
    files = [file for dataset in DATASETS.values() for file in dataset.files]
    assert len({file.name for file in files}) == len(files)
    assert all(file.url.startswith("https://") for file in files)
    assert not [f for f in files if Path(f.to).is_absolute() or ".." in Path(f.to).parts]
