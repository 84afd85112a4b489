"""`biasmir fetch`, from the addresses of the real hosts, for which a server here stands in."""

from __future__ import annotations

import gzip
import json
import logging
import random
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pooch
import pytest
from click.testing import CliRunner
from faulty_server import (
    Drop,
    FaultyServer,
    Redirect,
    Send,
    Status,
    add_zenodo_record,
    enlarge_disk,
    small_disk,
    tls_for,
)
from small_archives import (
    IRMAS_NAMES,
    adapted_registry,
    irmas_archive,
    openmic_archive,
    sum_of,
    tar_gz,
    zipped,
)

from biasmir_utils.cli import main
from biasmir_utils.datasets import Patience, Registry, default_root, disk, fetch, fetched_model
from biasmir_utils.datasets.records import unchecked_inputs
from biasmir_utils.datasets.registry import Source
from biasmir_utils.errors import ArgumentError, DownloadError

SOURCES = ["openmic", "irmas", "paper-embeddings", "paper-split", "models"]
QUICK = Patience(attempts=2, wait=0, timeout=30)
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
# Where each file ends up under the root.
PLACES = {
    "openmic-2018-v1.0.0.tgz": "openmic-2018",
    "IRMAS-TrainingData.zip": "IRMAS-TrainingData",
    "embeddings.h5": "paper/embeddings.h5",
    "irmas_train.csv": "paper/irmas_train.csv",
    "irmas_test.csv": "paper/irmas_test.csv",
    "yamnet_1.tar.gz": "models/yamnet",
    "vggish_1.tar.gz": "models/vggish",
    "openl3_audio_mel256_music-v0_4_0.h5.gz": "models/openl3/openl3_audio_mel256_music-v0_4_0.h5",
}
TITLES = {
    "openmic": "OpenMIC-2018",
    "irmas": "IRMAS",
    "paper-embeddings": "The embeddings",
    "paper-split": "The split",
    "models": "Pre-trained networks",
}
DOI = "10.5281/zenodo.8126908"
BUCKET = "https://storage.googleapis.com"
HOSTS = [
    "doi.org",
    "zenodo.org",
    "raw.githubusercontent.com",
    "github.com",
    "tfhub.dev",
    "storage.googleapis.com",
]


def files_of(source: str) -> list[str]:
    return [file.name for file in Registry.load()[source].files]


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    try:
        return tls_for(HOSTS, tmp_path_factory.mktemp("tls"))
    except LookupError as error:
        from conftest import absent

        absent(str(error))


@pytest.fixture
def hosts(tls, monkeypatch):
    """The hosts of the real table, behind a proxy, with small files at the real addresses."""
    context, certificate = tls
    for name in ("no_proxy", "NO_PROXY", "BIASMIR_BASE_URL", "BIASMIR_DATA"):
        monkeypatch.delenv(name, raising=False)
    with FaultyServer(context) as server:
        monkeypatch.setenv("https_proxy", server.url)
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        for source in Registry.load().sources.values():
            for file in source.files:
                if file.url.startswith("https://tfhub.dev/"):
                    server.add(file.url, b"", *[Redirect(f"{BUCKET}/{file.name}")] * 9)
                    server.add(f"{BUCKET}/{file.name}", CONTENT[file.name])
                else:
                    server.add(file.url, CONTENT[file.name])
        add_zenodo_record(server, DOI, {"embeddings.h5": sum_of(CONTENT["embeddings.h5"])})
        yield server


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """The project's table with the sums of the small files."""
    own: dict[str, dict[str, object]] = {
        file.name: {"sum": sum_of(CONTENT[file.name], file.sum.partition(":")[0])}
        for source in Registry.load().sources.values()
        for file in source.files
        if file.sum
    }
    own["openl3_audio_mel256_music-v0_4_0.h5.gz"]["gunzip"] = {"sum": sum_of(WEIGHTS, "sha256")}
    for name in CONTENT:
        own.setdefault(name, {})["size"] = len(CONTENT[name])
    return adapted_registry(tmp_path_factory.mktemp("table") / "registry.json", own)


@pytest.fixture
def registry(table) -> Registry:
    return Registry.load(table)


@pytest.fixture
def mirror(monkeypatch):
    """A server that has every file right under its address."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FaultyServer() as server:
        for name, content in CONTENT.items():
            server.add(f"/{name}", content)
        yield server


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "root"


def run(*arguments: object):
    return CliRunner().invoke(main, ["fetch", *map(str, arguments)])


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def assert_nothing_half(root: Path):
    """No partial file or folder, nor one of a temporary name."""
    strange = [p for p in root.rglob("*") if p.name.startswith((".", "tmp")) or "partial" in p.name]
    assert [p for p in strange if p.name != ".lock"] == []


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_comes_from_its_real_address_and_a_second_call_does_nothing(
    source, hosts, table, root
):
    done = run(source, "--root", root, "--registry", table)
    assert done.exit_code == 0, done.output
    registry = Registry.load(table)
    assert done.output.startswith(TITLES[source])
    assert f"licence: {registry[source].licence}" in done.output
    assert [asked.status for asked in hosts.asked if asked.status >= 400] == []
    for file in registry[source].files:
        assert str(root / PLACES[file.name]) in done.output or f"{file.name}:" in done.output
        assert (root / PLACES[file.name]).exists()
        address = f"{BUCKET}/{file.name}" if "tfhub" in file.url else file.url
        assert hosts.sent(address) == len(CONTENT[file.name])
    assert_nothing_half(root)

    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
    hosts.asked.clear()
    again = run(source, "--root", root, "--registry", table)
    assert again.exit_code == 0
    assert again.output.count("there already, checked") == len(files_of(source))
    assert hosts.asked == []
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()} == before


def test_all_sources_at_once_give_the_layout_that_prepare_reads(hosts, registry, root, capsys):
    results = fetch(SOURCES, root, registry=registry, patience=QUICK)
    assert results == {name: root / place for name, place in PLACES.items()}
    found = tree(root)
    assert [name for name in found if name.startswith("paper/")] == [
        "paper/embeddings.h5",
        "paper/irmas_test.csv",
        "paper/irmas_train.csv",
    ]
    assert "openmic-2018/audio/000/000046_3840.ogg" in found
    assert "openmic-2018/partitions/split01_test.csv" in found
    assert f"IRMAS-TrainingData/cel/{IRMAS_NAMES[0]}.wav" in found
    assert (root / "paper" / "embeddings.h5").read_bytes() == CONTENT["embeddings.h5"]
    assert fetched_model("yamnet", root) == root / "models" / "yamnet"
    assert fetched_model("vggish", root) == root / "models" / "vggish"
    openl3 = fetched_model("openl3", root)
    assert openl3 is not None
    assert openl3.read_bytes() == WEIGHTS
    assert fetched_model("yamnet", root / "elsewhere") is None
    assert fetched_model("openl3", root / "elsewhere") is None
    assert capsys.readouterr().err == ""


def test_the_sum_of_the_embeddings_is_asked_of_the_record_and_kept(hosts, registry, root):
    fetch(["paper-embeddings"], root, registry=registry, patience=QUICK, say=lambda line: None)
    assert hosts.requests(f"https://doi.org/{DOI}")[0].status == 302
    assert hosts.requests("https://zenodo.org/api/records/8126908")[0].status == 200
    kept = json.loads((root / "downloads" / "sums.json").read_text())["embeddings.h5"]
    assert kept["sum"] == sum_of(CONTENT["embeddings.h5"])
    assert kept["told_by"] == f"doi:{DOI}"


def test_embeddings_that_have_not_the_sum_of_the_record_are_refused(hosts, registry, root):
    add_zenodo_record(hosts, DOI, {"embeddings.h5": sum_of(b"others")})
    with pytest.raises(DownloadError, match=r"embeddings\.h5\?download=1: not the file that was"):
        fetch(["paper-embeddings"], root, registry=registry, patience=QUICK)
    assert_nothing_half(root)
    assert not (root / "paper" / "embeddings.h5").exists()


def test_a_record_that_answers_late_is_asked_again(hosts, registry, root):
    hosts.files[f"https://doi.org/{DOI}"].faults.insert(0, Status(503))
    hosts.fail("https://zenodo.org/api/records/8126908", Send(b"<html>busy</html>"))
    fetch(["paper-embeddings"], root, registry=registry, patience=Patience(attempts=3, wait=0))
    assert (root / "paper" / "embeddings.h5").is_file()


@pytest.mark.parametrize(
    ("address", "fault", "match"),
    [
        (f"https://doi.org/{DOI}", Status(404), "cannot be fetched .*404"),
        (f"https://doi.org/{DOI}", Redirect("https://github.com/"), "Invalid data repository"),
        ("https://zenodo.org/api/records/8126908", Send(b"{}"), "no list of files came"),
        (
            "https://zenodo.org/api/records/8126908",
            Send(json.dumps({"files": [{"key": "other.h5", "checksum": "md5:0"}]}).encode()),
            r"lists no embeddings\.h5 with a sum \(it lists other\.h5\)",
        ),
        (
            "https://zenodo.org/api/records/8126908",
            Send(json.dumps({"files": [{"key": "embeddings.h5", "checksum": "?"}]}).encode()),
            r"lists no embeddings\.h5 with a sum",
        ),
    ],
)
def test_a_record_without_the_sum_is_an_error(address, fault, match, hosts, registry, root):
    hosts.add("https://github.com/", b"<html>elsewhere</html>")
    file = hosts.files[address]
    file.faults[:0] = [fault, fault]
    with pytest.raises(DownloadError, match=match) as caught:
        fetch(["paper-embeddings"], root, registry=registry, patience=QUICK)
    assert f"doi:{DOI}" in str(caught.value)
    assert not (root / "paper").exists()
    file.faults[:] = [other for other in file.faults if other != fault]
    fetch(["paper-embeddings"], root, registry=registry, patience=QUICK)
    assert (root / "paper" / "embeddings.h5").is_file()


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_mirror_has_the_files_under_their_own_names(how, mirror, table, root, monkeypatch):
    arguments = ["openmic", "irmas", "paper-split", "models", "--root", root, "--registry", table]
    if how == "option":
        arguments += ["--base-url", mirror.url + "/"]
    else:
        monkeypatch.setenv("BIASMIR_BASE_URL", mirror.url)
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert {asked.address for asked in mirror.asked} == {
        f"/{name}" for name in CONTENT if name != "embeddings.h5"
    }
    for name in CONTENT:
        assert (root / PLACES[name]).exists() == (name != "embeddings.h5")


def test_the_licence_of_the_embeddings_is_that_of_their_record(hosts, registry, root):
    said: list[str] = []
    fetch(["paper-embeddings"], root, registry=registry, patience=QUICK, say=said.append)
    assert "licence: not known to this program" in said[0]
    assert "https://zenodo.org/records/8126908" in said[0]
    assert "  licence, as the record states it: cc-by-4.0" in said
    again: list[str] = []
    fetch(["paper-embeddings"], root, registry=registry, patience=QUICK, say=again.append)
    assert "licence: cc-by-4.0\n" in again[0]


@pytest.fixture
def unchecked(hosts, disk_folder, registry, root, monkeypatch):
    """Embeddings from a folder, and from then on the record in reach."""

    def bring(content: bytes = CONTENT["embeddings.h5"]) -> list[str]:
        said: list[str] = []
        (disk_folder / "embeddings.h5").write_bytes(content)
        with FaultyServer() as closed:
            pass
        with monkeypatch.context() as patch:
            patch.setenv("https_proxy", closed.url)
            patch.setenv("HTTPS_PROXY", closed.url)
            for _ in range(2):  # the second call finds the file, and is as unsure
                said = []
                fetch(
                    ["paper-embeddings"],
                    root,
                    from_dir=disk_folder,
                    registry=registry,
                    say=said.append,
                )
                assert any("WARNING: embeddings.h5 is UNCHECKED" in line for line in said)
                assert not any("no sum is published" in line for line in said)
                assert not any("there already, checked" in line for line in said)
        return said

    return bring


def kept_sum(root: Path) -> dict[str, object]:
    return json.loads((root / "downloads" / "sums.json").read_text())["embeddings.h5"]


def test_a_check_that_could_not_be_made_is_made_up(unchecked, hosts, registry, root):
    unchecked()
    assert kept_sum(root)["unchecked"] is True
    assert kept_sum(root)["told_by"] == "nobody"
    used = [root / "paper" / "embeddings.h5"]
    assert unchecked_inputs(root, used) == {"paper/embeddings.h5": kept_sum(root)["sum"]}
    assert unchecked_inputs(root, [root / "paper" / "irmas_train.csv"]) == {}
    said: list[str] = []
    fetch(["paper-embeddings"], root, registry=registry, patience=QUICK, say=said.append)
    assert any("checked now, it has the sum" in line for line in said)
    assert any("there already, checked" in line for line in said)
    assert "unchecked" not in kept_sum(root)
    assert unchecked_inputs(root, used) == {}
    assert kept_sum(root)["sum"] == sum_of(CONTENT["embeddings.h5"])
    assert hosts.requests(Registry.load().file("embeddings.h5").url) == []


def test_a_wrong_file_that_came_unchecked_is_found_out(unchecked, registry, root):
    unchecked(b"forged")
    said: list[str] = []
    fetch(["paper-embeddings"], root, registry=registry, patience=QUICK, say=said.append)
    assert any("WARNING" in line and "NOT the file" in line for line in said)
    assert (root / "paper" / "embeddings.h5").read_bytes() == CONTENT["embeddings.h5"]
    assert (root / "paper" / "embeddings.h5.wrong").read_bytes() == b"forged"


def test_a_wrong_file_in_the_folder_to_take_from_stays_there(unchecked, registry, root):
    unchecked(b"forged")
    before = sorted((root / "paper").rglob("*"))
    said: list[str] = []
    with pytest.raises(
        DownloadError, match=r"paper/embeddings\.h5: not the file that was expected"
    ):
        fetch(
            ["paper-embeddings"],
            root,
            from_dir=root,
            registry=registry,
            patience=QUICK,
            say=said.append,
        )
    assert any("paper/embeddings.h5: NOT the file" in line for line in said)
    assert sorted((root / "paper").rglob("*")) == before
    assert (root / "paper" / "embeddings.h5").read_bytes() == b"forged"


def test_an_unchecked_file_that_was_lost_or_damaged_comes_again(
    unchecked, disk_folder, registry, root
):
    unchecked(b"first")
    (root / "paper" / "embeddings.h5").unlink()
    unchecked(b"second")  # nobody said that the first was right
    assert (root / "paper" / "embeddings.h5").read_bytes() == b"second"
    (root / "paper" / "embeddings.h5").write_bytes(b"damage")
    unchecked(b"second")
    assert (root / "paper" / "embeddings.h5").read_bytes() == b"second"


def test_a_mirror_without_the_record_in_reach_is_unchecked(mirror, registry, root, monkeypatch):
    with FaultyServer() as closed:
        pass
    monkeypatch.setenv("https_proxy", closed.url)
    said: list[str] = []
    fetch(["paper-embeddings"], root, base_url=mirror.url, registry=registry, say=said.append)
    assert any("WARNING: embeddings.h5 is UNCHECKED" in line for line in said)
    assert kept_sum(root)["sum"] == sum_of(CONTENT["embeddings.h5"], "sha256")


def test_a_mirror_is_held_to_the_sum_of_the_record(hosts, registry, root):
    hosts.add("https://github.com/mirror/embeddings.h5", b"forged")
    with pytest.raises(DownloadError, match="not the file that was expected"):
        fetch(
            ["paper-embeddings"],
            root,
            base_url="https://github.com/mirror",
            registry=registry,
            patience=QUICK,
        )


@pytest.fixture
def disk_folder(tmp_path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


def test_files_on_disk_are_used_and_left_alone(disk_folder, registry, root, monkeypatch):
    with FaultyServer() as closed:
        pass
    monkeypatch.setenv("https_proxy", closed.url)
    monkeypatch.setenv("BIASMIR_BASE_URL", closed.url)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in disk_folder.iterdir()}
    results = fetch(SOURCES, root, from_dir=disk_folder, registry=registry)
    assert all(path.exists() for path in results.values())
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in disk_folder.iterdir()} == before
    # Archives are unpacked from where they are, not copied.
    assert [p for p in tree(root / "downloads") if not p.endswith(".json")] == [".lock"]
    again: list[str] = []
    fetch(SOURCES, root, from_dir=disk_folder, registry=registry, say=again.append)
    # The record of the embeddings is out of reach.
    assert sum("there already, checked" in line for line in again) == len(CONTENT) - 1


def test_the_root_of_another_machine_can_be_the_files_on_disk(hosts, registry, root, tmp_path):
    fetch(SOURCES, root, registry=registry, patience=QUICK)
    hosts.asked.clear()
    other = tmp_path / "other"
    fetch(["openmic", "paper-split"], other, from_dir=root, registry=registry)
    assert hosts.asked == []
    assert tree(other / "openmic-2018") == tree(root / "openmic-2018")
    assert (other / "paper" / "irmas_train.csv").read_bytes() == CONTENT["irmas_train.csv"]


@pytest.mark.parametrize("name", ["irmas_train.csv", "IRMAS-TrainingData.zip"])
def test_a_wrong_file_on_disk_is_named(name, disk_folder, registry, root):
    source = "irmas" if name.endswith("zip") else "paper-split"
    good = (disk_folder / name).read_bytes()
    (disk_folder / name).write_bytes(good[:-1])
    with pytest.raises(DownloadError, match="not the file that was expected; its sum is") as caught:
        fetch([source], root, from_dir=disk_folder, registry=registry)
    assert str(disk_folder / name) in str(caught.value)
    assert not (root / PLACES[name]).exists()
    (disk_folder / name).write_bytes(good)
    fetch([source], root, from_dir=disk_folder, registry=registry)
    assert (root / PLACES[name]).exists()


def test_a_file_that_is_not_on_disk_is_named_with_its_address(disk_folder, registry, root):
    (disk_folder / "irmas_test.csv").unlink()
    with pytest.raises(DownloadError, match=r"irmas_test\.csv: no such file; get it from https://"):
        fetch(["paper-split"], root, from_dir=disk_folder, registry=registry)
    with pytest.raises(ArgumentError, match="no such folder"):
        fetch(["paper-split"], root, from_dir=disk_folder / "absent", registry=registry)


FAULTS = {
    "wrong sum": Send(b"x" * 1000),
    "truncated": Send(CONTENT["IRMAS-TrainingData.zip"][:-100]),
    "404": Status(404),
    "dropped": Drop(after=1000),
    "a web page": Send(b"<html>", "text/html"),
    "an unprotected redirect": Redirect("http://example.org/IRMAS-TrainingData.zip"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_failure_there_is_no_good_name_and_the_next_call_succeeds(
    fault, hosts, table, root, monkeypatch
):
    monkeypatch.setenv("http_proxy", hosts.url)
    hosts.add("http://example.org/IRMAS-TrainingData.zip", CONTENT["IRMAS-TrainingData.zip"])
    address = Registry.load()["irmas"].files[0].url
    hosts.fail(address, FAULTS[fault])
    arguments = ("irmas", "--root", root, "--registry", table, "--attempts", 1)
    failed = run(*arguments)
    assert failed.exit_code == 1
    assert failed.stderr.startswith(f"Error: {address}: ")
    assert len(failed.stderr.splitlines()) == 1
    assert not (root / "IRMAS-TrainingData").exists()
    assert not (root / "downloads" / "IRMAS-TrainingData.zip").exists()
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert len(tree(root / "IRMAS-TrainingData")) == len(IRMAS_NAMES) + 1
    assert_nothing_half(root)


def test_parts_of_two_downloads_that_do_not_fit_are_fetched_anew_in_the_same_call(
    hosts, registry, root
):
    address = Registry.load()["paper-split"].files[0].url
    file = hosts.files[address]
    file.faults.append(Drop(after=20))
    with pytest.raises(DownloadError):
        fetch(["paper-split"], root, registry=registry, patience=Patience(attempts=1))
    partial = root / "paper" / "irmas_train.csv.partial"
    partial.write_bytes(b"#" * 20)
    said: list[str] = []
    fetch(["paper-split"], root, registry=registry, patience=QUICK, say=said.append)
    assert any("starting again" in line for line in said)
    assert (root / "paper" / "irmas_train.csv").read_bytes() == CONTENT["irmas_train.csv"]


EVIL = {
    "climbs out": ({"IRMAS-TrainingData/cel/a.wav": b"x", "../../evil": b"x"}, "climbs out"),
    "bomb": ({"IRMAS-TrainingData/bomb": bytes(200_000)}, "unpacks to more than 100 kB"),
    "too many": ({f"IRMAS-TrainingData/{i}": b"" for i in range(60)}, "more than 50 members"),
    "another": ({"Other/cel/a.wav": b"x"}, "has no cel, so it is not what was expected"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_an_archive_not_to_be_trusted_leaves_nothing_even_if_its_sum_is_right(
    kind, mirror, tmp_path, root
):
    members, match = EVIL[kind]
    bounds = {"largest": 100_000, "members": 50}

    def table(content: bytes) -> Registry:
        mirror.add("/IRMAS-TrainingData.zip", content)
        own = {"sum": sum_of(content), "size": 0, "unpack": {"size": 0, **bounds}}
        path = adapted_registry(tmp_path / "table.json", {"IRMAS-TrainingData.zip": own})
        return Registry.load(path)

    with pytest.raises(DownloadError, match=match):
        fetch(["irmas"], root, base_url=mirror.url, registry=table(zipped(members)))
    assert not (root / "IRMAS-TrainingData").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root", "table.json"]
    assert_nothing_half(root)
    good = table(CONTENT["IRMAS-TrainingData.zip"])
    fetch(["irmas"], root, base_url=mirror.url, registry=good)
    assert len(tree(root / "IRMAS-TrainingData")) == len(IRMAS_NAMES) + 1


def test_a_model_without_a_published_sum_is_recorded_then_held_to_it(hosts, registry, root):
    said: list[str] = []
    fetch(["models"], root, registry=registry, patience=QUICK, say=said.append)
    value = sum_of(YAMNET, "sha256")
    assert any(
        f"yamnet_1.tar.gz: no sum is published for it; {value} was recorded" in line
        for line in said
    )
    assert not any("openl3" in line and "no sum is published" in line for line in said)
    # The archive and the unpacked folder are lost; the address has another file by now.
    (root / "downloads" / "yamnet_1.tar.gz").unlink()
    (root / "models" / "yamnet" / "saved_model.pb").unlink()
    hosts.add(f"{BUCKET}/yamnet_1.tar.gz", tar_gz({"saved_model.pb": b"another"}))
    with pytest.raises(DownloadError, match=r"not the file that was expected.*SHA256"):
        fetch(["models"], root, registry=registry, patience=QUICK)
    assert not (root / "models" / "yamnet" / "saved_model.pb").exists()
    hosts.add(f"{BUCKET}/yamnet_1.tar.gz", YAMNET)
    fetch(["models"], root, registry=registry, patience=QUICK)
    assert (root / "models" / "yamnet" / "saved_model.pb").read_bytes() == b"yamnet"


@pytest.mark.parametrize(
    "bad",
    [YAMNET[:-200], b"not an archive", tar_gz({"other.pb": b"x"}), b""],
    ids=["truncated", "no archive", "another archive", "empty"],
)
def test_a_bad_first_download_of_a_model_is_not_recorded(bad, hosts, registry, root):
    hosts.fail(f"{BUCKET}/yamnet_1.tar.gz", Send(bad))
    with pytest.raises(DownloadError, match=r"yamnet_1\.tar\.gz: "):
        fetch(["models"], root, registry=registry, patience=QUICK)
    assert not (root / "models" / "yamnet").exists()
    assert not (root / "downloads" / "sums.json").exists()
    fetch(["models"], root, registry=registry, patience=QUICK)
    assert (root / "models" / "yamnet" / "saved_model.pb").read_bytes() == b"yamnet"


def test_weights_that_are_not_those_of_the_table_are_refused(mirror, tmp_path, root):
    name = "openl3_audio_mel256_music-v0_4_0.h5.gz"
    own = {name: {"sum": sum_of(CONTENT[name], "sha256")}}  # of the .gz, not of what it holds
    registry = Registry.load(adapted_registry(tmp_path / "table.json", own))
    with pytest.raises(DownloadError, match=r"\.h5: what the archive holds is not the file"):
        fetch(["models"], root, base_url=mirror.url, registry=registry)
    assert tree(root / "models" / "openl3") == []


def test_archives_may_be_deleted_and_lost_files_come_back(hosts, registry, root):
    fetch(["openmic"], root, registry=registry, patience=QUICK)
    archive = root / "downloads" / "openmic-2018-v1.0.0.tgz"
    audio = root / "openmic-2018" / "audio" / "000" / "000046_3840.ogg"
    content = audio.read_bytes()
    hosts.asked.clear()
    audio.unlink()
    fetch(["openmic"], root, registry=registry, patience=QUICK)  # from the archive
    assert audio.read_bytes() == content
    archive.unlink()
    fetch(["openmic"], root, registry=registry, patience=QUICK)  # nothing to do
    assert hosts.asked == []
    audio.write_bytes(content[:-1])
    fetch(["openmic"], root, registry=registry, patience=QUICK)  # from the network
    assert audio.read_bytes() == content
    assert len(hosts.asked) == 1


def test_archives_can_be_discarded(hosts, table, root):
    done = run("openmic", "models", "--root", root, "--registry", table, "--discard-archives")
    assert done.exit_code == 0, done.output
    assert not [p for p in tree(root / "downloads") if p.endswith(("gz", "zip"))]
    hosts.asked.clear()
    assert run("openmic", "models", "--root", root, "--registry", table).exit_code == 0
    assert hosts.asked == []


def test_a_file_damaged_on_disk_is_noticed_and_replaced(hosts, registry, root):
    fetch(["paper-split"], root, registry=registry, patience=QUICK)
    (root / "paper" / "irmas_train.csv").write_bytes(b"cut")
    fetch(["paper-split"], root, registry=registry, patience=QUICK)
    assert (root / "paper" / "irmas_train.csv").read_bytes() == CONTENT["irmas_train.csv"]


def test_records_that_cannot_be_read_are_made_again(hosts, registry, root):
    fetch(["models"], root, registry=registry, patience=QUICK)
    for record in (root / "downloads").glob("*.json"):
        record.write_text("{")
    hosts.asked.clear()
    fetch(["models"], root, registry=registry, patience=QUICK)
    assert hosts.asked == []  # the archives are still there
    assert json.loads((root / "downloads" / "sums.json").read_text())["yamnet_1.tar.gz"]


def test_free_disk_is_checked_before_anything_is_asked(hosts, root, monkeypatch):
    # The size of the disk is made up here; the next test has one that is really full.
    real = disk.shutil.disk_usage
    monkeypatch.setattr(
        disk.shutil, "disk_usage", lambda path: real(path)._replace(free=6_000_000_000)
    )
    with pytest.raises(
        DownloadError,
        match=r"root: fetching openmic takes about 6\.1 GB, and 6 GB are free; .*--root",
    ):
        fetch(["openmic"], root)
    assert hosts.asked == []


def test_a_disk_that_is_really_full_leaves_nothing_and_needs_no_second_download(mirror, tmp_path):
    content = tar_gz({"saved_model.pb": random.Random(0).randbytes(700_000)})
    mirror.add("/yamnet_1.tar.gz", content)
    own = {"yamnet_1.tar.gz": {"size": 0, "unpack": {"size": 0}}}
    table = Registry.load(adapted_registry(tmp_path / "table.json", own))
    yamnet = Source("yamnet", "YAMNet", "Apache 2.0", "", (table.file("yamnet_1.tar.gz"),))
    registry = Registry({"yamnet": yamnet})
    disk_of_1_mb = small_disk(tmp_path / "small")
    try:
        folder = disk_of_1_mb.__enter__()
    except (LookupError, FileNotFoundError) as error:
        pytest.skip(str(error))
    try:
        with pytest.raises(DownloadError, match=r"the disk \(or a quota\) is full"):
            fetch(["yamnet"], folder, base_url=mirror.url, registry=registry)
        assert not (folder / "models" / "yamnet").exists()
        assert_nothing_half(folder)
        enlarge_disk(folder, "4m")
        fetch(["yamnet"], folder, base_url=mirror.url, registry=registry)
        assert (folder / "models" / "yamnet" / "saved_model.pb").stat().st_size == 700_000
        assert len(mirror.asked) == 1
    finally:
        disk_of_1_mb.__exit__(None, None, None)


def test_a_process_killed_while_unpacking_leaves_no_good_name(mirror, tmp_path, root):
    members = {f"./part{i}": b"x" * 100 for i in range(4000)}
    content = tar_gz({"./saved_model.pb": b"yamnet", **members})
    mirror.add("/yamnet_1.tar.gz", content)
    openl3 = "openl3_audio_mel256_music-v0_4_0.h5.gz"
    sums = {"sum": sum_of(CONTENT[openl3]), "gunzip": {"sum": sum_of(WEIGHTS)}}
    own = {"yamnet_1.tar.gz": {"unpack": {"members": 5000}}, openl3: sums}
    table = adapted_registry(tmp_path / "table.json", own)
    code = "import sys; from biasmir_utils.cli import main; main(sys.argv[1:])"
    arguments = ["fetch", "models", "--root", root, "--base-url", mirror.url, "--registry", table]
    with subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)]) as process:
        while not list((root / "models").glob(".yamnet.*.partial/part100")):
            assert process.poll() is None
        process.kill()
    assert not (root / "models" / "yamnet").exists()
    fetch(["models"], root, base_url=mirror.url, registry=Registry.load(table))
    assert len(tree(root / "models" / "yamnet")) == 4001
    assert len(mirror.requests("/yamnet_1.tar.gz")) == 1
    assert_nothing_half(root)


def test_two_fetches_in_one_root_are_kept_apart(mirror, registry, root):
    # The lock belongs to an open file, so one process can stand for two.
    with (
        disk.only_one(root / "downloads"),
        pytest.raises(DownloadError, match="another `biasmir fetch` is at work here"),
    ):
        fetch(["paper-split"], root, base_url=mirror.url, registry=registry)
    assert mirror.asked == []
    fetch(["paper-split"], root, base_url=mirror.url, registry=registry)


def test_a_fetch_can_wait_for_another_one(mirror, registry, root, monkeypatch):
    held = ExitStack()
    held.enter_context(disk.only_one(root / "downloads"))
    said = []
    arguments = {"base_url": mirror.url, "registry": registry, "say": said.append}
    with pytest.raises(DownloadError, match="another `biasmir fetch` is at work here"):
        fetch(["paper-split"], root, wait=1e-9, **arguments)
    monkeypatch.setattr(disk.time, "sleep", lambda seconds: held.close())
    assert fetch(["paper-split"], root, wait=60, **arguments)
    assert any("waiting for it, 60 s at most" in line for line in said)


def test_a_root_that_cannot_be_written_is_said(mirror, registry, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match=r"file/downloads: .*choose a folder that can be"):
        fetch(["paper-split"], tmp_path / "file", base_url=mirror.url, registry=registry)


def test_the_place_can_be_set(mirror, registry, tmp_path, monkeypatch):
    monkeypatch.delenv("BIASMIR_DATA", raising=False)
    monkeypatch.delenv("BIASMIR_CACHE", raising=False)
    assert default_root() == Path(pooch.os_cache("biasmir")) / "data"
    monkeypatch.setenv("BIASMIR_CACHE", str(tmp_path / "cache"))
    assert default_root() == tmp_path / "cache" / "data"
    monkeypatch.setenv("BIASMIR_DATA", str(tmp_path / "data"))
    assert default_root() == tmp_path / "data"
    fetch(["paper-split"], base_url=mirror.url, registry=registry)
    assert (tmp_path / "data" / "paper" / "irmas_train.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            ["nothing"],
            "no source 'nothing'; there are openmic, irmas, paper-embeddings, paper-split",
        ),
        (["irmas", "--base-url", "ftp://x"], "expected an http:// or https:// address"),
        (["irmas", "--registry", "absent.json"], "absent.json: cannot be read"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, match, root):
    done = run(*arguments, "--root", root)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert match in done.stderr
    assert not root.exists()


def test_what_pooch_logs_elsewhere_is_not_touched(mirror, registry, root):
    logger = pooch.get_logger()
    before = logger.level
    fetch(["paper-split"], root, base_url=mirror.url, registry=registry)
    assert logger.level == before
    assert before <= logging.INFO
