"""A download that goes wrong on purpose: what is said, what is left, and the next try."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from faulty_server import Drip, Drop, FaultyServer, IgnoreRange, Redirect, Stall, Status, WrongRange
from stand_in import toy, toy_command

from biasmir_utils.datasets import RemoteFile, fetch
from biasmir_utils.errors import DownloadError

CONTENT = random.Random(0).randbytes(1_500_000)
# Read in pieces of 64 kB, the last of which may be lost when a connection breaks.
PIECE = 1 << 16


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FaultyServer() as running:
        yield running


@pytest.fixture
def patience(monkeypatch):
    """Set how often, and with what waits, it is tried; at once and once by default."""

    def be(attempts=1, wait=0.0, longest=60.0, timeout=30.0, slowest=60.0):
        values = {"ATTEMPTS": attempts, "WAIT": wait, "LONGEST_WAIT": longest}
        values |= {"TIMEOUT": timeout, "SLOWEST": slowest}
        for name, value in values.items():
            monkeypatch.setattr(f"biasmir_utils.datasets._download.{name}", value)

    be()
    return be


@pytest.fixture
def get(server, patience, tmp_path, monkeypatch):
    """Fetch `a.bin` from an address into `tmp_path/got`."""

    def got(address: str = "/a.bin", name: str = "a.bin", size: int = 10_000_000) -> Path:
        url = address if "//" in address or "/" not in address else server.url + address
        toy(monkeypatch, RemoteFile(name, url, name, size=size))
        return fetch(["toy"], tmp_path / "got", say=lambda line: None)[name]

    return got


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "got"


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "downloads")


def assert_whole(folder: Path, content: bytes = CONTENT) -> None:
    assert (folder / "a.bin").read_bytes() == content
    assert left(folder) == ["a.bin"]


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_said_at_once(code, server, get, folder, patience):
    patience(attempts=3)
    server.add("/a.bin", CONTENT, Status(code))
    with pytest.raises(DownloadError, match=rf"/a\.bin: .* answered {code} .*--from DIR"):
        get()
    assert len(server.asked) == 1
    assert left(folder) == []
    get()
    assert_whole(folder)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_and_given_up_in_the_end(code, server, get, folder, patience):
    patience(attempts=3)
    server.add("/a.bin", CONTENT, *[Status(code)] * 5)
    with pytest.raises(DownloadError, match=rf"answered {code} .* \(3 attempt\(s\)\); try again"):
        get()
    assert left(folder) == []
    get()
    assert_whole(folder)
    assert [asked.status for asked in server.asked] == [code] * 5 + [200]


def test_waits_double_up_to_a_limit_and_longer_where_the_server_asks(
    server, get, patience, monkeypatch
):
    waits: list[float] = []
    monkeypatch.setattr("biasmir_utils.datasets._download.time.sleep", waits.append)
    patience(attempts=9, wait=1.0, longest=10.0)
    asking = [Status(503, {"Retry-After": text}) for text in ("7", "999")]
    server.add("/a.bin", CONTENT, *[Status(503)] * 3, asking[0], Status(500), asking[0], asking[1])
    get()
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_a_connection_dropped_in_the_middle_goes_on_from_there(server, get, folder, patience):
    patience(attempts=3)
    server.add("/a.bin", CONTENT, Drop(after=700_000))
    get()
    assert_whole(folder)
    first, second = server.asked
    assert first.headers["Accept-Encoding"] == "identity"
    assert first.headers["User-Agent"].startswith("biasmir/")
    start = int(second.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 700_000 - PIECE <= start <= 700_000
    assert second.headers["If-Range"] == server.files["/a.bin"].etag
    assert (first.status, second.status) == (200, 206)
    assert second.sent == len(CONTENT) - start


@pytest.mark.parametrize("whole", [False, True])
def test_a_later_call_goes_on_where_an_earlier_one_ended(whole, server, get, folder):
    server.add("/a.bin", CONTENT, Drop(after=700_000))
    with pytest.raises(
        DownloadError, match=r"no connection, or it broke off .* it goes on from 6\d\d kB"
    ):
        get()
    assert left(folder) == ["a.bin.partial", "a.bin.partial.json"]
    kept = (folder / "a.bin.partial").read_bytes()
    assert kept == CONTENT[: len(kept)]
    if whole:  # it had all come, and only was not renamed
        (folder / "a.bin.partial").write_bytes(CONTENT)
    get()
    assert_whole(folder)
    assert len(server.asked) == 2 - whole
    if not whole:
        assert server.asked[1].headers["Range"] == f"bytes={len(kept)}-"
        assert server.sent("/a.bin") <= len(CONTENT) + PIECE


def test_a_bad_line_gets_as_many_connections_as_it_needs(server, get, folder, patience):
    patience(attempts=2)
    content = random.Random(0).randbytes(6_000_000)
    server.add("/a.bin", content, *[Drop(after=1_200_000)] * 4)
    get()
    assert_whole(folder, content)
    assert len(server.asked) == 5
    server.add("/b.bin", content, *[Drop(after=100_000)] * 9)  # too little to count
    with pytest.raises(DownloadError, match=r"\(2 attempt\(s\)\)"):
        get("/b.bin", "b.bin")


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_from(server, get, folder):
    server.add("/a.bin", CONTENT, Stall(after=700_000))
    file = RemoteFile("a.bin", f"{server.url}/a.bin", "a.bin")
    partial = folder / "a.bin.partial"
    with subprocess.Popen(toy_command(file, folder)) as process:
        while not (partial.is_file() and partial.stat().st_size >= PIECE):
            assert process.poll() is None
        process.kill()
    had = partial.stat().st_size
    get()
    assert_whole(folder)
    assert server.asked[1].headers["Range"] == f"bytes={had}-"
    assert server.asked[1].sent == len(CONTENT) - had


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        ({}, {}, 0),
        ({"etag": None, "modified": "Wed, 01"}, {"etag": None, "modified": "Thu, 02"}, 0),
        ({"etag": None}, {"etag": None}, 1),
        ({"etag": 'W/"one"'}, {"etag": 'W/"two"'}, 0),
    ],
    ids=["etag", "modified", "length", "weak etag"],
)
def test_a_file_that_changed_in_between_is_fetched_anew(
    before, after, more, server, get, folder, patience
):
    server.add("/a.bin", CONTENT, Drop(after=700_000), **before)
    with pytest.raises(DownloadError):
        get()
    changed = random.Random(1).randbytes(len(CONTENT) + more)
    server.add("/a.bin", changed, **after)
    patience(attempts=3)
    get()
    assert_whole(folder, changed)


@pytest.mark.parametrize(
    ("fault", "statuses"), [(IgnoreRange(), [200, 200]), (WrongRange(), [200, 206, 200])]
)
def test_a_server_that_cannot_go_on_sends_all_of_it_again(
    fault, statuses, server, get, folder, patience
):
    patience(attempts=3)
    server.add("/a.bin", CONTENT, Drop(after=700_000), fault)
    get()
    assert_whole(folder)
    assert [asked.status for asked in server.asked] == statuses


@pytest.mark.parametrize(
    "notes",
    ["", "{", "[]", '{"url": 1}', '{"url": "URL", "etag": 3, "length": "x"}',
     '{"url": "URL", "etag": null, "modified": null, "length": null}'],
)  # fmt: skip
def test_a_partial_file_of_which_nothing_is_known_is_not_used(notes, server, get, folder):
    server.add("/a.bin", CONTENT)
    folder.mkdir()
    (folder / "a.bin.partial").write_bytes(b"something else")
    (folder / "a.bin.partial.json").write_text(notes.replace("URL", f"{server.url}/a.bin"))
    get()
    assert_whole(folder)
    assert "Range" not in server.asked[0].headers


def test_a_partial_file_of_another_address_or_too_long_is_not_used(server, get, folder):
    # Even where the two have the same length and say that they are the same.
    server.add("/b.bin", random.Random(0).randbytes(len(CONTENT)), Drop(after=500_000), etag='"1"')
    server.add("/a.bin", CONTENT, Drop(after=700_000), etag='"1"')
    for address in ("/b.bin", "/a.bin"):
        with pytest.raises(DownloadError):
            get(address)
    assert "Range" not in server.asked[1].headers
    (folder / "a.bin.partial").write_bytes(bytes(len(CONTENT) + 1))
    get()
    assert_whole(folder)


def test_redirects_are_followed_and_the_download_goes_on_through_them(
    server, get, folder, patience
):
    patience(attempts=3)
    server.add("/elsewhere", CONTENT, Drop(after=700_000))
    server.add("/a.bin", b"", *[Redirect("/step"), Redirect("/step")])
    server.add("/step", b"", *[Redirect(f"{server.url}/elsewhere")] * 2)
    get()
    assert_whole(folder)
    assert [asked.status for asked in server.requests("/elsewhere")] == [200, 206]


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("http://127.0.0.1:9/a.bin", r"no connection.*refused.* \(2 attempt.*--from DIR"),
        ("nonsense", "cannot be fetched|no connection"),
        ("ftp://127.0.0.1/a", "cannot be fetched|no connection"),
    ],
)
def test_an_address_where_nobody_answers_is_an_error(address, match, get, folder, patience):
    patience(attempts=2)
    with pytest.raises(DownloadError, match=match):
        get(address)
    assert left(folder) == []


def test_endless_redirects_are_an_error(server, get):
    server.add("/a.bin", b"", *[Redirect("/a.bin")] * 40)
    with pytest.raises(DownloadError, match=r"cannot be fetched .*30 redirects"):
        get()
    assert len(server.asked) == 31


@pytest.mark.parametrize("after", [-1, 700_000], ids=["no answer", "in the middle"])
def test_a_slow_answer_is_given_up_and_the_next_call_goes_on(after, server, get, folder, patience):
    server.add("/a.bin", CONTENT, Stall(after))
    patience(timeout=0.2)
    with pytest.raises(DownloadError, match=r"(no answer for 0\.2 s|timed out.*) \(1 attempt"):
        get()
    assert not (folder / "a.bin").exists()
    patience()
    get()
    assert_whole(folder)


@pytest.mark.parametrize("after", [-2, -1, 700_000], ids=["continue", "header", "body"])
def test_single_bytes_do_not_keep_a_connection_up_for_ever(after, server, get, folder, patience):
    server.add("/a.bin", CONTENT, Drip(after))
    patience(slowest=1.0)
    with pytest.raises(DownloadError, match=r"no answer, or less than 64 kB, in 1 s \(1 attempt"):
        get()
    assert (folder / "a.bin.partial").exists() == (after > 0)
    patience()
    get()
    assert_whole(folder)
    assert server.sent("/a.bin") <= len(CONTENT) + PIECE


@pytest.mark.parametrize("length", [True, False], ids=["announced", "not announced"])
def test_a_file_that_is_too_large_is_refused(length, server, get, folder):
    server.add("/a.bin", CONTENT, Stall(after=1_200_000), length=length)
    with pytest.raises(DownloadError, match="larger than 1 MB, which this file cannot be"):
        get(size=250_000)
    assert left(folder) == []


def test_a_limit_on_the_size_of_files_keeps_what_had_come(server, get, folder):
    # Stands in for a full disk or a quota: the system refuses to let a file grow further.
    server.add("/a.bin", CONTENT)
    file = RemoteFile("a.bin", f"{server.url}/a.bin", "a.bin")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))"
    command = toy_command(file, folder, limit)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "what had come is kept. Make room" in done.stderr.splitlines()[-1]
    assert left(folder) == ["a.bin.partial", "a.bin.partial.json"]
    get()
    assert_whole(folder)
    assert [asked.status for asked in server.asked] == [200, 206]
