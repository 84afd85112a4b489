"""Archives are unpacked only inside their folder, in bounds, and whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tarfile
import tempfile
from pathlib import Path

import pytest
from faulty_server import enlarge_disk, small_disk
from hypothesis import given, settings
from hypothesis import strategies as st
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


def assert_nothing_left(place: Path) -> None:
    assert sorted(p.name for p in place.iterdir()) == ["from", "root"]
    assert [p.name for p in (place / "root").iterdir()] == ["downloads"]
    assert [p.name for p in (place / "root" / "downloads").iterdir()] == [".lock"]


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


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
@pytest.mark.parametrize("to", ["/etc/passwd", "../../outside", "folder/../../../x"])
def test_a_link_out_of_the_folder_is_refused(kind, to, tmp_path):
    content = tar_with(special("link", kind, to))
    assert_refused(tmp_path, content, "not to be trusted .*outside|absolute")


def test_writing_through_a_link_is_impossible(tmp_path):
    content = tar_with(special("way", tarfile.SYMTYPE, "../.."), tarfile.TarInfo("way/evil.txt"))
    assert_refused(tmp_path, content, "not to be trusted")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(kind, tmp_path):
    assert_refused(tmp_path, tar_with(special("device", kind)), "is a special file")


def test_permissions_and_owners_of_the_archive_do_not_reach_the_disk(tmp_path):
    info = tarfile.TarInfo("setuid")
    info.mode, info.uid = 0o6777, 12345
    made = (unpack(tmp_path, tar_with(info)) / "setuid").stat()
    assert made.st_mode & 0o6022 == 0
    assert made.st_uid == os.getuid()


@PACKERS
def test_a_bomb_in_bytes_is_refused(pack, tmp_path):
    bomb = pack({"small": b"x", "bomb": bytes(5_000_000)})
    assert len(bomb) < 20_000
    assert_refused(tmp_path, bomb, "unpacks to more than 4 MB", largest=4_000_000)


@PACKERS
def test_a_bomb_in_members_is_refused(pack, tmp_path, monkeypatch):
    monkeypatch.setattr("biasmir_utils.datasets._archives.MOST_MEMBERS", 100)
    bomb = pack({f"file{i}": b"" for i in range(101)})
    assert_refused(tmp_path, bomb, "more than 100 members")


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    honest = zipped({"bomb": bytes(5_000_000)})
    declared = struct.pack("<L", 5_000_000)
    assert honest.count(declared) == 2  # the local header and the directory
    lying = honest.replace(declared, struct.pack("<L", 1000))
    assert_refused(tmp_path, lying, "damaged", largest=4_000_000)


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "x" * 5_000_000}
    assert_refused(tmp_path, tar_with(info), "unpacks to more than 1 MB", largest=1_000_000)


@PACKERS
@pytest.mark.parametrize("keep", [0.2, 0.95])
def test_a_truncated_archive_is_refused(pack, keep, tmp_path):
    content = pack({f"file{i}": random.Random(i).randbytes(3000) for i in range(10)})
    assert_refused(tmp_path, content[: int(len(content) * keep)], "damaged")


@PACKERS
def test_a_flipped_byte_is_noticed(pack, tmp_path):
    content = bytearray(pack({"file": random.Random(0).randbytes(30_000)}))
    content[15_000] ^= 1
    assert_refused(tmp_path, bytes(content), "damaged")


def test_an_encrypted_zip_is_refused(tmp_path):
    content = bytearray(zipped({"file": b"secret"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    assert_refused(tmp_path, bytes(content), "damaged, no archive of this kind")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>log in</html>", b"PK", b"\x1f\x8b"],
    ids=["nothing", "a page", "start of a zip", "start of a gz"],
)
def test_what_is_no_archive_is_refused(content, tmp_path):
    assert_refused(tmp_path, content, "damaged")


def test_an_archive_without_what_it_should_hold_is_refused(tmp_path):
    content = zipped({"top/a": b"x"})
    assert_refused(tmp_path, content, "has no labels.csv", holds=("a", "labels.csv"))


def test_files_of_the_user_in_the_target_stay(tmp_path):
    target = tmp_path / "root" / "top"
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "mine.txt").write_text("mine")
    (target / "sub" / "a.txt").write_text("stale")
    unpack(tmp_path, zipped({"sub/a.txt": b"new", "b/c.txt": b"x"}))
    assert files_in(target) == {"sub/mine.txt": b"mine", "sub/a.txt": b"new", "b/c.txt": b"x"}


def test_a_target_that_is_a_link_to_another_place_is_filled_there(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "top").symlink_to(tmp_path / "elsewhere")
    unpack(tmp_path, zipped({"a.txt": b"x"}))
    assert (tmp_path / "root" / "top").is_symlink()
    assert (tmp_path / "elsewhere" / "a.txt").read_bytes() == b"x"


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / "root" / ".top.0123abcd.partial"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    unpack(tmp_path, zipped({"a.txt": b"x"}))
    assert sorted(p.name for p in (tmp_path / "root").iterdir()) == ["downloads", "top"]


@pytest.mark.parametrize(
    ("content", "known", "match"),
    [
        (gzip.compress(bytes(1000)), bytes(1000), "unpacks to more than 996 bytes"),
        (gzip.compress(b"weights")[:-3], b"weights", "damaged"),
        (b"weights", b"weights", "damaged"),
        (gzip.compress(b"weights"), b"others", "what the archive holds is not the file"),
        (gzip.compress(b"weights"), b"weights", None),
    ],
    ids=["too large", "cut short", "no gz", "another sum", "good"],
)
def test_a_gz_becomes_one_file_or_nothing(content, known, match, tmp_path, monkeypatch):
    (tmp_path / "w.h5.gz").write_bytes(content)
    file = RemoteFile(
        "w.h5.gz", "https://example.org", "m/w.h5", unpacked=249, unpacked_sum=sum_of(known)
    )
    toy(monkeypatch, file)
    made = tmp_path / "root" / "m"
    if match is None:
        fetch(["toy"], tmp_path / "root", from_dir=tmp_path)
        assert [p.read_bytes() for p in made.iterdir()] == [b"weights"]
        return
    with pytest.raises(DownloadError, match=match):
        fetch(["toy"], tmp_path / "root", from_dir=tmp_path)
    assert list(made.iterdir()) == []


def test_a_disk_that_gets_full_leaves_nothing(tmp_path):
    # A tar.gz does not say beforehand how much it holds, so the disk really gets full.
    content = tar_gz({"a.txt": b"x", "b.bin": random.Random(0).randbytes(3_000_000)})
    disk = small_disk(tmp_path / "root")
    try:
        folder = disk.__enter__()
    except (LookupError, FileNotFoundError) as error:
        pytest.skip(str(error))
    try:
        with pytest.raises(DownloadError, match=r"No space left on device.*Make room, or choose"):
            unpack(tmp_path, content, unpacked=900_000)
        assert [p.name for p in folder.iterdir()] == ["downloads"]
        enlarge_disk(folder, "8m")
        assert set(files_in(unpack(tmp_path, content))) == {"a.txt", "b.bin"}
    finally:
        disk.__exit__(None, None, None)
