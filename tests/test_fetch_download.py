"""A download that goes wrong on purpose: what is said, what is left, and the next try."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from pathlib import Path

import pooch
import pytest
from faulty_server import (
    Drop,
    FaultyServer,
    IgnoreRange,
    Redirect,
    Send,
    Stall,
    Status,
    Truncate,
    WrongRange,
)

from biasmir_utils.datasets import Patience, download
from biasmir_utils.datasets.download import ResumingDownloader
from biasmir_utils.errors import DownloadError

CONTENT = random.Random(0).randbytes(1_500_000)
ONCE = Patience(attempts=1, wait=0, timeout=30)
THRICE = Patience(attempts=3, wait=0, timeout=30)
# Read in pieces of 64 kB, the last of which may be lost when a connection breaks.
PIECE = 1 << 16


@pytest.fixture
def server():
    with FaultyServer() as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "got").mkdir()
    return tmp_path / "got"


def get(server: FaultyServer, folder: Path, patience=ONCE, largest=None, address="/a.bin") -> Path:
    downloader = ResumingDownloader(folder / "a.bin.partial", patience, largest)
    downloader(server.url + address, str(folder / "a.bin"), None)
    return folder / "a.bin"


def assert_whole(folder: Path, content: bytes = CONTENT):
    assert (folder / "a.bin").read_bytes() == content
    assert [p.name for p in folder.iterdir()] == ["a.bin"]


def assert_no_good_name(folder: Path, *left: str):
    assert sorted(p.name for p in folder.iterdir()) == sorted(left)


def test_a_file_arrives_whole_and_nothing_else_is_left(server, folder):
    server.add("/a.bin", CONTENT)
    get(server, folder)
    assert_whole(folder)
    asked = server.requests("/a.bin")[0].headers
    assert asked["Accept-Encoding"] == "identity"
    assert asked["User-Agent"].startswith("biasmir/")


@pytest.mark.parametrize("code", [404, 410])
def test_a_missing_file_is_said_at_once(code, server, folder):
    server.add("/a.bin", CONTENT, Status(code))
    with pytest.raises(DownloadError, match=rf"/a\.bin: the server has no such file \({code}"):
        get(server, folder, THRICE)
    assert len(server.asked) == 1
    assert_no_good_name(folder)
    get(server, folder)
    assert_whole(folder)


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_is_said_at_once(code, server, folder):
    server.add("/a.bin", CONTENT, Status(code))
    with pytest.raises(DownloadError, match=rf"refuses access \({code}"):
        get(server, folder, THRICE)
    assert len(server.asked) == 1
    get(server, folder)
    assert_whole(folder)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(code, server, folder):
    server.add("/a.bin", CONTENT, Status(code), Status(code))
    get(server, folder, THRICE)
    assert_whole(folder)
    assert [asked.status for asked in server.asked] == [code, code, 200]


def test_a_server_that_stays_busy_is_given_up(server, folder):
    server.add("/a.bin", CONTENT, *[Status(503)] * 3)
    with pytest.raises(
        DownloadError, match=r"answered 503 Service Unavailable \(3 attempt\(s\)\); try again later"
    ):
        get(server, folder, THRICE)
    assert_no_good_name(folder)
    get(server, folder)
    assert_whole(folder)


def test_waits_double_up_to_a_limit_and_longer_where_the_server_asks(server, folder, monkeypatch):
    waits = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.add(
        "/a.bin", CONTENT, *[Status(503)] * 3, Status(503, {"Retry-After": "7"}), Status(500)
    )
    get(server, folder, Patience(attempts=6, wait=1.0, longest_wait=10.0))
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0]
    waits.clear()
    server.fail("/a.bin", Status(503, {"Retry-After": "7"}), Status(503, {"Retry-After": "999"}))
    get(server, folder, Patience(attempts=6, wait=1.0, longest_wait=10.0))
    assert waits == [7.0, 10.0]


def test_a_connection_dropped_in_the_middle_goes_on_from_there(server, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000))
    get(server, folder, THRICE)
    assert_whole(folder)
    first, second = server.asked
    start = int(second.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 700_000 - PIECE <= start <= 700_000
    assert second.headers["If-Range"] == server.files["/a.bin"].etag
    assert (first.status, second.status) == (200, 206)
    assert second.sent == len(CONTENT) - start
    assert server.sent("/a.bin") <= len(CONTENT) + PIECE


def test_a_later_call_goes_on_where_an_earlier_one_ended(server, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000))
    with pytest.raises(
        DownloadError, match=r"no connection, or it broke off .* it goes on from 6\d\d kB"
    ):
        get(server, folder)
    assert_no_good_name(folder, "a.bin.partial", "a.bin.partial.json")
    kept = (folder / "a.bin.partial").read_bytes()
    assert kept == CONTENT[: len(kept)]
    get(server, folder)
    assert_whole(folder)
    assert server.asked[1].headers["Range"] == f"bytes={len(kept)}-"
    assert server.sent("/a.bin") <= len(CONTENT) + PIECE


def test_a_bad_line_gets_as_many_connections_as_it_needs(server, folder):
    content = random.Random(0).randbytes(6_000_000)
    server.add("/a.bin", content, *[Drop(after=1_200_000)] * 4)
    get(server, folder, Patience(attempts=2, wait=0))
    assert_whole(folder, content)
    assert len(server.asked) == 5


def test_a_connection_that_brings_little_counts_as_failed(server, folder):
    server.add("/a.bin", CONTENT, *[Drop(after=100_000)] * 9)
    with pytest.raises(DownloadError, match=r"\(3 attempt\(s\)\)"):
        get(server, folder, THRICE)
    assert len(server.asked) == 3


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_from(server, folder):
    server.add("/a.bin", CONTENT, Stall(after=700_000))
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from biasmir_utils.datasets.download import Patience, ResumingDownloader\n"
        "get = ResumingDownloader(Path(sys.argv[1] + '.partial'), Patience())\n"
        "get(sys.argv[2], sys.argv[1], None)\n"
    )
    arguments = [str(folder / "a.bin"), f"{server.url}/a.bin"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments]) as process:
        while not ((folder / "a.bin.partial").is_file() and process.poll() is None):
            assert process.poll() is None
        while (folder / "a.bin.partial").stat().st_size < PIECE:
            assert process.poll() is None
        process.kill()
    assert_no_good_name(folder, "a.bin.partial", "a.bin.partial.json")
    had = (folder / "a.bin.partial").stat().st_size
    get(server, folder)
    assert_whole(folder)
    assert server.asked[1].headers["Range"] == f"bytes={had}-"
    assert server.asked[1].sent == len(CONTENT) - had


@pytest.mark.parametrize("how", ["etag", "modified", "length"])
def test_a_file_that_changed_in_between_is_fetched_anew(how, server, folder):
    validators = {
        "etag": ({}, {}),
        "modified": (
            {"etag": None, "modified": "Wed, 01 Jan 2025 00:00:00 GMT"},
            {"etag": None, "modified": "Thu, 02 Jan 2025 00:00:00 GMT"},
        ),
        "length": ({"etag": None}, {"etag": None}),
    }[how]
    server.add("/a.bin", CONTENT, Drop(after=700_000), **validators[0])
    with pytest.raises(DownloadError):
        get(server, folder)
    changed = random.Random(1).randbytes(len(CONTENT) + (1 if how == "length" else 0))
    server.add("/a.bin", changed, **validators[1])
    get(server, folder, THRICE)
    assert_whole(folder, changed)


def test_a_weak_etag_is_compared_too(server, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000), etag='W/"one"')
    with pytest.raises(DownloadError):
        get(server, folder)
    changed = random.Random(1).randbytes(len(CONTENT))
    server.add("/a.bin", changed, etag='W/"two"')
    get(server, folder, THRICE)
    assert_whole(folder, changed)
    assert [asked.status for asked in server.asked] == [200, 206, 200]


def test_without_anything_to_compare_it_starts_anew(server, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000), etag=None, length=False)
    # Without a length, a dropped connection looks like the end.
    get(server, folder)
    assert (folder / "a.bin").read_bytes() == CONTENT[:700_000]
    (folder / "a.bin").rename(folder / "a.bin.partial")
    notes = {"url": f"{server.url}/a.bin", "etag": None, "modified": None, "length": None}
    (folder / "a.bin.partial.json").write_text(json.dumps(notes))
    get(server, folder)
    assert_whole(folder)
    assert "Range" not in server.asked[1].headers


def test_a_server_that_ignores_ranges_sends_all_of_it_again(server, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000), IgnoreRange())
    get(server, folder, THRICE)
    assert_whole(folder)
    assert [asked.status for asked in server.asked] == [200, 200]


def test_a_range_that_was_not_asked_for_is_not_appended(server, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000), WrongRange())
    get(server, folder, THRICE)
    assert_whole(folder)
    assert [asked.status for asked in server.asked] == [200, 206, 200]


@pytest.mark.parametrize(
    "notes", ["", "{", "[]", '{"url": 1}', '{"url": "URL", "etag": 3, "length": "x"}']
)
def test_notes_that_cannot_be_read_start_it_anew(notes, server, folder):
    server.add("/a.bin", CONTENT)
    (folder / "a.bin.partial").write_bytes(b"something else")
    (folder / "a.bin.partial.json").write_text(notes.replace("URL", f"{server.url}/a.bin"))
    get(server, folder)
    assert_whole(folder)


def test_a_partial_file_of_another_address_is_not_used(server, folder):
    # Even where the two have the same length and say that they are the same.
    server.add("/b.bin", random.Random(0).randbytes(len(CONTENT)), Drop(after=500_000), etag='"1"')
    with pytest.raises(DownloadError):
        get(server, folder, address="/b.bin")
    server.add("/a.bin", CONTENT, etag='"1"')
    get(server, folder)
    assert_whole(folder)


def test_a_partial_file_that_is_too_long_is_not_used(server, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000))
    with pytest.raises(DownloadError):
        get(server, folder)
    (folder / "a.bin.partial").write_bytes(bytes(len(CONTENT) + 1))
    get(server, folder)
    assert_whole(folder)


def test_a_download_that_was_done_but_not_renamed_is_not_done_twice(server, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000))
    with pytest.raises(DownloadError):
        get(server, folder)
    (folder / "a.bin.partial").write_bytes(CONTENT)
    get(server, folder)
    assert_whole(folder)
    assert len(server.asked) == 1


def test_redirects_are_followed_and_the_download_goes_on_through_them(server, folder):
    server.add("/elsewhere", CONTENT, Drop(after=700_000))
    server.add("/a.bin", b"", *[Redirect("/step"), Redirect("/step")])
    server.add("/step", b"", *[Redirect(f"{server.url}/elsewhere")] * 2)
    get(server, folder, THRICE)
    assert_whole(folder)
    assert [asked.status for asked in server.requests("/elsewhere")] == [200, 206]


def test_endless_redirects_are_an_error(server, folder):
    server.add("/a.bin", b"", *[Redirect("/a.bin")] * 40)
    with pytest.raises(DownloadError, match=r"cannot be fetched .*30 redirects"):
        get(server, folder, THRICE)
    assert len(server.asked) == 31
    assert_no_good_name(folder)


@pytest.mark.parametrize(
    "after", [-1, 0, 700_000], ids=["no answer", "no content", "in the middle"]
)
def test_a_slow_answer_is_given_up_and_the_next_call_goes_on(after, server, folder):
    server.add("/a.bin", CONTENT, Stall(after))
    with pytest.raises(DownloadError, match=r"no answer for 0\.2 s \(1 attempt"):
        get(server, folder, Patience(attempts=1, wait=0, timeout=0.2))
    assert not (folder / "a.bin").exists()
    get(server, folder)
    assert_whole(folder)


def test_a_port_where_nobody_listens_is_an_error(tmp_path):
    with FaultyServer() as closed:
        pass
    with pytest.raises(DownloadError, match=r"no connection.*refused.* \(2 attempt"):
        get(closed, tmp_path, Patience(attempts=2, wait=0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["nonsense", "http://", "ftp://127.0.0.1/a"])
def test_an_impossible_address_is_an_error(address, tmp_path):
    with pytest.raises(DownloadError, match=r"cannot be fetched|no connection"):
        ResumingDownloader(tmp_path / "a.partial", ONCE)(address, str(tmp_path / "a"), None)


def test_a_web_page_instead_of_the_file_is_said(server, folder):
    server.add("/a.bin", CONTENT, Send(b"<html>log in</html>", "text/html; charset=utf-8"))
    with pytest.raises(DownloadError, match=r"a web page came, not a file; .* open a browser"):
        get(server, folder, THRICE)
    assert_no_good_name(folder)
    get(server, folder)
    assert_whole(folder)


@pytest.mark.parametrize("length", [True, False], ids=["announced", "not announced"])
def test_a_file_that_is_too_large_is_refused(length, server, folder):
    server.add("/a.bin", CONTENT, length=length)
    with pytest.raises(DownloadError, match="larger than 1 MB, which this file cannot be"):
        get(server, folder, THRICE, largest=1_000_000)
    assert_no_good_name(folder)
    assert len(server.asked) == 1


def test_a_file_that_does_not_end_is_given_up_at_the_bound(server, folder):
    server.add("/a.bin", CONTENT, Stall(after=1_200_000), length=False)
    with pytest.raises(DownloadError, match="larger than 1 MB, which this file cannot be"):
        get(server, folder, largest=1_000_000)
    assert_no_good_name(folder)


def test_the_rest_of_a_download_must_fit_on_the_disk(server, folder, monkeypatch):
    # The size of the disk is made up here; test_archives.py has one that is really full.
    server.add("/a.bin", CONTENT)
    usage = download.require_space.__globals__["shutil"]
    real = usage.disk_usage
    monkeypatch.setattr(usage, "disk_usage", lambda path: real(path)._replace(free=1_499_999))
    with pytest.raises(DownloadError, match=r"takes about 1\.5 MB, and 1\.5 MB are free"):
        get(server, folder, THRICE)
    assert not (folder / "a.bin").exists()
    monkeypatch.setattr(usage, "disk_usage", lambda path: real(path)._replace(free=1_500_000))
    get(server, folder)
    assert_whole(folder)


def test_a_limit_on_the_size_of_files_keeps_what_had_come(server, folder):
    # Stands in for a quota: the system refuses to let a file of this process grow further.
    server.add("/a.bin", CONTENT)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from biasmir_utils.datasets.download import Patience, ResumingDownloader\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))\n"
        "get = ResumingDownloader(Path(sys.argv[1] + '.partial'), Patience())\n"
        "get(sys.argv[2], sys.argv[1], None)\n"
    )
    arguments = [str(folder / "a.bin"), f"{server.url}/a.bin"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert "the disk (or a quota) is full" in done.stderr.splitlines()[-1]
    assert_no_good_name(folder, "a.bin.partial", "a.bin.partial.json")
    get(server, folder)
    assert_whole(folder)
    assert server.asked[1].status == 206


class TestThroughPooch:
    """As it is used: Pooch holds the sum, and renames what has it."""

    def keeper(self, server: FaultyServer, folder: Path, known: str) -> pooch.Pooch:
        return pooch.create(
            path=folder,
            base_url=server.url,
            registry={"a.bin": known},
            urls={"a.bin": f"{server.url}/a.bin"},
        )

    @pytest.fixture
    def known(self, tmp_path):
        (tmp_path / "original").write_bytes(CONTENT)
        return "sha256:" + pooch.file_hash(str(tmp_path / "original"))

    @pytest.mark.parametrize(
        "fault",
        [Send(b"x" * len(CONTENT)), Truncate(to=1_000_000), Send(b"")],
        ids=["other content", "truncated, and said to be whole", "empty"],
    )
    def test_a_wrong_sum_leaves_nothing(self, fault, known, server, folder):
        server.add("/a.bin", CONTENT, fault)
        downloader = ResumingDownloader(folder / "a.bin.partial", THRICE)
        keeper = self.keeper(server, folder, known)
        with pytest.raises(ValueError, match="does not match the known hash"):
            keeper.fetch("a.bin", downloader=downloader)
        assert_no_good_name(folder)
        keeper.fetch("a.bin", downloader=downloader)
        assert_whole(folder)

    def test_a_file_that_was_damaged_on_disk_is_replaced(self, known, server, folder):
        server.add("/a.bin", CONTENT)
        (folder / "a.bin").write_bytes(CONTENT[:-1])
        downloader = ResumingDownloader(folder / "a.bin.partial", THRICE)
        self.keeper(server, folder, known).fetch("a.bin", downloader=downloader)
        assert_whole(folder)


def test_a_proxy_from_the_environment_is_used(server, folder, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    address = "http://files.example.org/a.bin"
    server.add(address, CONTENT, Drop(after=700_000))
    ResumingDownloader(folder / "a.bin.partial", THRICE)(address, str(folder / "a.bin"), None)
    assert_whole(folder)
    assert [asked.status for asked in server.requests(address)] == [200, 206]


def test_a_proxy_that_is_down_is_named(folder, monkeypatch):
    with FaultyServer() as closed:
        pass
    monkeypatch.setenv("https_proxy", closed.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    downloader = ResumingDownloader(folder / "a.bin.partial", ONCE)
    with pytest.raises(DownloadError, match=r"the proxy did not connect .*HTTPS_PROXY"):
        downloader("https://files.example.org/a.bin", str(folder / "a.bin"), None)
    assert_no_good_name(folder)


@pytest.mark.parametrize("proxy", [False, True])
def test_a_name_that_does_not_resolve_is_said_soon_with_what_else_can_be_done(
    proxy, folder, monkeypatch
):
    waits: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    asked = []

    def unknown(host, *arguments, **options):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("http_proxy", "http://proxy.invalid:1")
    downloader = ResumingDownloader(folder / "a.bin.partial", Patience(attempts=9))
    with pytest.raises(DownloadError) as caught:
        downloader("http://files.invalid/a.bin", str(folder / "a.bin"), None)
    assert len(asked) == len(waits) + 1 == 2
    text = str(caught.value)
    assert "http://files.invalid/a.bin: " in text
    assert "HTTPS_PROXY" in text
    if not proxy:
        assert "--base-url URL" in text
        assert "--from DIR" in text
    assert_no_good_name(folder)
