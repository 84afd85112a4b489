"""Archives are unpacked only inside their folder, in bounds, and whole or not at all."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from stand_in import sum_of, tar_gz, toy, zipped

from biasmir_utils.datasets import RemoteFile, fetch
from biasmir_utils.errors import DownloadError

PACKERS = pytest.mark.parametrize("pack", [zipped, tar_gz], ids=["zip", "tgz"])


def unpack(
    place: Path, content: bytes, largest: int = 10_000_000, root: str = "root", **how: object
) -> Path:
    """Let `fetch` unpack an archive from the folder `place/from`; return what it made."""
    kind = ".zip" if content[:2] == b"PK" else ".tar.gz"
    name = f"archive{kind}"
    (place / "from").mkdir(exist_ok=True)
    (place / "from" / name).write_bytes(content)
    entry: dict[str, object] = {"sum": sum_of(content), "unpacked": largest // 4, **how}
    file = RemoteFile(name, f"https://example.org/{name}", to="top", **entry)
    with pytest.MonkeyPatch.context() as patch:
        toy(patch, file)
        return fetch(["toy"], place / root, from_dir=place / "from", say=lambda line: None)[name]


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def assert_nothing_left(place: Path, given: str = "from") -> None:
    assert sorted(p.name for p in place.iterdir()) == sorted([given, "root"])
    assert [p.name for p in (place / "root").iterdir()] == ["downloads"]
    assert [p.name for p in (place / "root" / "downloads").iterdir()] == []


def assert_refused(place: Path, content: bytes, match: str, **how: object) -> None:
    with pytest.raises(DownloadError, match=match) as caught:
        unpack(place, content, **how)
    assert str(place / "from" / "archive") in str(caught.value)
    assert_nothing_left(place)
    assert files_in(unpack(place, zipped({"fine.txt": b"x"}))) == {"fine.txt": b"x"}


@PACKERS
@pytest.mark.parametrize("top", ["top/", "", "./"])
def test_files_come_out_with_their_content_with_or_without_a_top_folder(pack, top, tmp_path):
    members = {"a.txt": b"alpha", "b/c.bin": bytes(range(256)) * 9000}
    content = pack({f"{top}{name}": data for name, data in members.items()})
    made = unpack(tmp_path, content, holds=("b/c.bin",))
    assert made == tmp_path / "root" / "top"
    assert files_in(made) == members
    assert sorted(p.name for p in (tmp_path / "root").iterdir()) == ["downloads", "top"]


@PACKERS
def test_what_other_systems_leave_in_archives_is_left_out(pack, tmp_path):
    litter = ("__MACOSX/top/._a.wav", "top/._a.wav", "top/.DS_Store")
    content = pack({**dict.fromkeys(litter, b"x"), "top/a.wav": b"sound"})
    assert files_in(unpack(tmp_path, content)) == {"a.wav": b"sound"}


@PACKERS
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "a/../../../x"])
def test_a_member_that_climbs_out_is_refused(pack, name, tmp_path):
    content = pack({"good.txt": b"good", name: b"evil"})
    assert_refused(tmp_path, content, r"climbs out of its folder; not unpacked")


@settings(max_examples=40, deadline=None)
@given(
    name=st.text(alphabet=st.sampled_from("ab./\\: C\x01é_"), min_size=1, max_size=12),
    pack=st.sampled_from([zipped, tar_gz]),
)
def test_whatever_its_name_a_member_stays_inside_or_is_refused(name, pack):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        try:
            unpack(place, pack({name: b"x", "good": b"y"}))
        except DownloadError:
            assert_nothing_left(place)
        else:
            found = {p.relative_to(place).parts[:2] for p in place.rglob("*") if p.is_file()}
            assert {first for first, *_ in found} == {"from", "root"}
            assert found - {("from", "archive.zip"), ("from", "archive.tar.gz")} == {
                ("root", "downloads"), ("root", "top"),
            }  # fmt: skip


def tar_with(*members: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        good = tarfile.TarInfo("folder/good.txt")
        good.size = 4
        archive.addfile(good, io.BytesIO(b"good"))
        for member in members:
            archive.addfile(member)
    return file.getvalue()


def special(name: str, kind: bytes, to: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ([special("link", tarfile.SYMTYPE, "/etc/passwd")], "absolute"),
        ([special("link", tarfile.SYMTYPE, "../../outside")], "outside"),
        ([special("link", tarfile.LNKTYPE, "folder/../../../x")], "outside"),
        ([special("way", tarfile.SYMTYPE, "../.."), tarfile.TarInfo("way/evil.txt")], "outside"),
        ([special("device", tarfile.CHRTYPE)], "is a special file"),
        ([special("device", tarfile.FIFOTYPE)], "is a special file"),
    ],
)
def test_links_that_lead_out_and_devices_are_refused(members, match, tmp_path):
    assert_refused(tmp_path, tar_with(*members), f"not to be trusted .*{match}")


@PACKERS
def test_a_bomb_in_members_is_refused(pack, tmp_path, monkeypatch):
    monkeypatch.setattr("biasmir_utils.datasets._download.MOST_MEMBERS", 100)
    bomb = pack({f"file{i}": b"" for i in range(101)})
    assert_refused(tmp_path, bomb, "more than 100 members")


BOMB = {"small": b"x", "bomb": bytes(5_000_000)}
HEADER = tarfile.TarInfo("x")
HEADER.pax_headers = {"comment": "x" * 5_000_000}
# In the local header and in the directory.
LYING = zipped(BOMB).replace(struct.pack("<L", 5_000_000), struct.pack("<L", 1000))


@pytest.mark.parametrize(
    ("bomb", "match"),
    [
        (zipped(BOMB), "unpacks to more than 4 MB"),
        (tar_gz(BOMB), "unpacks to more than 4 MB"),
        (tar_with(HEADER), "unpacks to more than 4 MB"),
        (LYING, "damaged"),
    ],
    ids=["zip", "tgz", "header", "a wrong size"],
)
def test_a_bomb_in_bytes_is_refused(bomb, match, tmp_path):
    assert len(bomb) < 20_000
    assert_refused(tmp_path, bomb, match, largest=4_000_000)


def damaged(pack, how: str) -> bytes:
    content = bytearray(pack({f"file{i}": random.Random(i).randbytes(3000) for i in range(10)}))
    if how == "a flipped byte":
        content[15_000] ^= 1
    elif how == "encrypted":
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(signature) + offset] |= 1
    return bytes(content[: {"cut early": 6000, "cut late": -100}.get(how)])


@pytest.mark.parametrize(
    "content",
    [
        *(damaged(p, h) for p in (zipped, tar_gz) for h in ("cut early", "cut late")),
        *(damaged(p, "a flipped byte") for p in (zipped, tar_gz)),
        damaged(zipped, "encrypted"),
        *(b"", b"<html>log in</html>", b"PK", b"\x1f\x8b"),
    ],
    ids=lambda content: f"{len(content)} bytes",
)
def test_what_is_damaged_encrypted_or_no_archive_is_refused(content, tmp_path):
    assert_refused(tmp_path, content, "damaged, no archive of this kind")


def test_an_archive_without_what_it_should_hold_is_refused(tmp_path):
    content = zipped({"top/a": b"x"})
    assert_refused(tmp_path, content, "has no labels.csv", holds=("a", "labels.csv"))


@pytest.mark.parametrize("linked", [False, True])
def test_files_of_the_user_in_the_target_stay(linked, tmp_path):
    """Also where the target is a link to another place."""
    target = tmp_path / "root" / "top"
    if linked:
        (tmp_path / "root").mkdir()
        target.symlink_to(tmp_path / "elsewhere")
        target = tmp_path / "elsewhere"
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "mine.txt").write_text("mine")
    (target / "sub" / "a.txt").write_text("stale")
    unpack(tmp_path, zipped({"sub/a.txt": b"new", "b/c.txt": b"x"}))
    assert files_in(target) == {"sub/mine.txt": b"mine", "sub/a.txt": b"new", "b/c.txt": b"x"}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (gzip.compress(bytes(1000)), "unpacks to more than 996 bytes"),
        (gzip.compress(b"weights")[:-3], "damaged"),
        (b"weights", "damaged"),
        (gzip.compress(b"weights"), None),
    ],
    ids=["too large", "cut short", "no gz", "good"],
)
def test_a_gz_becomes_one_file_or_nothing(content, match, tmp_path, monkeypatch):
    (tmp_path / "w.h5.gz").write_bytes(content)
    toy(monkeypatch, RemoteFile("w.h5.gz", "https://example.org", "m/w.h5", unpacked=249))
    if match is None:
        fetch(["toy"], tmp_path / "root", from_dir=tmp_path)
        assert files_in(tmp_path / "root" / "m") == {"w.h5": b"weights"}
        return
    with pytest.raises(DownloadError, match=match):
        fetch(["toy"], tmp_path / "root", from_dir=tmp_path)
    assert_nothing_left(tmp_path, "w.h5.gz")
