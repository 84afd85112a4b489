"""Archives are unpacked only inside their folder, in bounds, and whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from faulty_server import enlarge_disk, small_disk
from hypothesis import given
from hypothesis import strategies as st
from small_archives import tar_gz, zipped

from biasmir_utils.datasets.archives import ArchiveError, Bounds, changed_files, gunzip, unpack
from biasmir_utils.errors import DownloadError

ROOMY = Bounds(size=10_000_000, members=1000)
PACKERS = pytest.mark.parametrize("pack", [zipped, tar_gz], ids=["zip", "tgz"])


@pytest.fixture
def place(tmp_path):
    """A folder whose neighbours are watched: `place/archive`, `place/out/target`."""
    (tmp_path / "out").mkdir()
    return tmp_path


def try_unpack(place: Path, content: bytes, bounds: Bounds = ROOMY, **how):
    (place / "archive").write_bytes(content)
    return unpack(place / "archive", place / "out" / "target", bounds, **how)


def assert_nothing_left(place: Path):
    assert sorted(p.name for p in place.iterdir()) == ["archive", "out"]
    assert list((place / "out").iterdir()) == []


def assert_refused(place: Path, content: bytes, match: str, bounds: Bounds = ROOMY, **how):
    with pytest.raises(ArchiveError, match=match) as caught:
        try_unpack(place, content, bounds, **how)
    assert str(place / "archive") in str(caught.value)
    assert_nothing_left(place)
    files = try_unpack(place, zipped({"fine.txt": b"x"}))
    assert files == {"fine.txt": 1}


@PACKERS
def test_files_and_folders_come_out_with_their_content(pack, place):
    members = {"top": None, "top/a.txt": b"alpha", "top/b/c.bin": bytes(range(256)) * 9000}
    seen = []
    files = try_unpack(place, pack(members), top="top", holds=["b/c.bin"], progress=seen.append)
    target = place / "out" / "target"
    assert files == {"a.txt": 5, "b/c.bin": 256 * 9000}
    assert (target / "a.txt").read_bytes() == b"alpha"
    assert (target / "b" / "c.bin").read_bytes() == members["top/b/c.bin"]
    assert sum(seen) == sum(files.values())
    assert [p.name for p in (place / "out").iterdir()] == ["target"]
    assert changed_files(target, files) == []
    (target / "a.txt").write_bytes(b"longer than before")
    (target / "b" / "c.bin").unlink()
    assert changed_files(target, files) == ["a.txt", "b/c.bin"]


@PACKERS
def test_without_a_top_folder_all_of_it_becomes_the_target(pack, place):
    assert try_unpack(place, pack({"./saved_model.pb": b"x"}), top="yamnet") == {
        "saved_model.pb": 1
    }
    assert (place / "out" / "target" / "saved_model.pb").is_file()


@PACKERS
def test_what_other_systems_leave_in_archives_is_left_out(pack, place):
    content = pack(
        {
            "__MACOSX/top/._a.wav": b"x" * 2_000_000,
            "top/._a.wav": b"x" * 2_000_000,
            "top/.DS_Store": b"x",
            "top/a.wav": b"sound",
        }
    )
    assert try_unpack(place, content, top="top") == {"a.wav": 5}
    assert [p.name for p in (place / "out" / "target").rglob("*")] == ["a.wav"]


@PACKERS
@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil", "a/..", "a/../../../x"],
)
def test_a_member_that_climbs_out_is_refused(pack, name, place):
    content = pack({"good.txt": b"good", name: b"evil"})
    assert_refused(place, content, r"climbs out of its folder; not unpacked")


@given(
    name=st.text(alphabet=st.sampled_from("ab./\\: C\x01é_"), min_size=1, max_size=12),
    pack=st.sampled_from([zipped, tar_gz]),
)
def test_whatever_its_name_a_member_stays_inside_or_is_refused(name, pack):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "out").mkdir()
        try:
            files = try_unpack(place, pack({name: b"x", "good": b"y"}))
        except ArchiveError:
            assert_nothing_left(place)
        else:
            found = {p for p in place.rglob("*") if p.is_file()} - {place / "archive"}
            assert found == {place / "out" / "target" / file for file in files}


def tar_with(*members: tarfile.TarInfo, content: bytes = b"good") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        good = tarfile.TarInfo("folder/good.txt")
        good.size = len(content)
        archive.addfile(good, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return file.getvalue()


def link(name: str, to: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
@pytest.mark.parametrize(
    "to", ["/etc/passwd", "../../outside", "folder/../../x", "later", "folder"]
)
def test_a_link_out_of_the_folder_is_refused(kind, to, place):
    (place / "outside").write_text("secret")
    (place / "archive").write_bytes(tar_with(link("link", to, kind)))
    with pytest.raises(ArchiveError, match="is a link to"):
        unpack(place / "archive", place / "out" / "target", ROOMY)
    assert list((place / "out").iterdir()) == []


def test_writing_through_a_link_is_impossible(place):
    evil = tarfile.TarInfo("way/evil.txt")
    content = tar_with(link("way", "../..", tarfile.SYMTYPE), evil)
    assert_refused(place, content, "is a link to")


@pytest.mark.parametrize(
    ("name", "to", "kind"),
    [
        ("folder/same.txt", "good.txt", tarfile.SYMTYPE),
        ("other/same.txt", "../folder/good.txt", tarfile.SYMTYPE),
        ("other/same.txt", "folder/good.txt", tarfile.LNKTYPE),
    ],
)
def test_a_link_inside_the_archive_becomes_a_copy(name, to, kind, place):
    files = try_unpack(place, tar_with(link(name, to, kind)))
    made = place / "out" / "target" / name
    assert files == {"folder/good.txt": 4, name: 4}
    assert made.read_bytes() == b"good"
    assert not made.is_symlink()
    assert made.stat().st_nlink == 1


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(kind, place):
    device = tarfile.TarInfo("device")
    device.type = kind
    assert_refused(place, tar_with(device), "a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_in_a_zip_is_refused(kind, place):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("odd")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert_refused(place, file.getvalue(), "is a link or a device")


def test_permissions_and_owners_of_the_archive_do_not_reach_the_disk(place):
    info = tarfile.TarInfo("setuid")
    info.mode, info.uid = 0o6777, 12345
    try_unpack(place, tar_with(info))
    made = (place / "out" / "target" / "setuid").stat()
    assert made.st_mode & 0o6111 == 0
    assert made.st_uid == os.getuid()


@PACKERS
def test_a_bomb_in_bytes_is_refused(pack, place):
    bomb = pack({"small": b"x", "bomb": bytes(5_000_000)})
    assert len(bomb) < 20_000
    assert_refused(place, bomb, "unpacks to more than 4 MB", Bounds(4_000_000, 10))


@PACKERS
def test_a_bomb_in_members_is_refused(pack, place):
    bomb = pack({f"file{i}": b"" for i in range(101)})
    assert_refused(place, bomb, "more than 100 members", Bounds(10_000, 100))


def test_a_zip_that_says_how_large_it_is_is_refused_before_writing(place):
    written = []
    with pytest.raises(ArchiveError, match="unpacks to more than 4 MB"):
        try_unpack(
            place,
            zipped({"bomb": bytes(5_000_000)}),
            Bounds(4_000_000, 10),
            progress=written.append,
        )
    assert written == []


def test_a_zip_that_lies_about_a_size_is_refused(place):
    honest = zipped({"bomb": bytes(5_000_000)})
    declared = struct.pack("<L", 5_000_000)
    assert honest.count(declared) == 2  # the local header and the directory
    lying = honest.replace(declared, struct.pack("<L", 1000))
    assert_refused(place, lying, "damaged", Bounds(4_000_000, 10))


def test_a_header_that_would_fill_the_memory_is_refused(place):
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "x" * 5_000_000}
    assert_refused(place, tar_with(info), "a header larger than 1 MB")


@PACKERS
@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_a_truncated_archive_is_refused(pack, keep, place):
    content = pack({f"file{i}": random.Random(i).randbytes(3000) for i in range(10)})
    assert_refused(place, content[: int(len(content) * keep)], "damaged")


@PACKERS
def test_a_flipped_byte_is_noticed(pack, place):
    content = bytearray(pack({"file": random.Random(0).randbytes(30_000)}))
    content[15_000] ^= 1
    assert_refused(place, bytes(content), "damaged")


def test_an_encrypted_zip_is_refused(place):
    content = bytearray(zipped({"file": b"secret"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    assert_refused(place, bytes(content), "damaged, or no archive of this kind")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>log in</html>", b"PK", b"\x1f\x8b", random.Random(0).randbytes(99)],
    ids=["nothing", "a page", "start of a zip", "start of a gz", "noise"],
)
def test_what_is_no_archive_is_refused(content, place):
    assert_refused(place, content, "neither a zip nor a tar.gz|damaged")


def test_an_archive_without_what_it_should_hold_is_refused(place):
    assert_refused(
        place, zipped({"top/a": b"x"}), "has no labels.csv", top="top", holds=["a", "labels.csv"]
    )


@PACKERS
def test_a_name_that_is_both_file_and_folder_is_refused(pack, place):
    assert_refused(place, pack({"a": b"x", "a/b": b"y"}), "is both a file and a folder")
    shutil.rmtree(place / "out" / "target")
    assert_refused(place, pack({"a/b": b"y", "a": b"x"}), "is both a file and a folder")


def test_files_of_the_user_in_the_target_stay(place):
    target = place / "out" / "target"
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "mine.txt").write_text("mine")
    (target / "sub" / "a.txt").write_text("stale")
    try_unpack(place, zipped({"sub/a.txt": b"new", "b/c.txt": b"x"}))
    assert (target / "sub" / "mine.txt").read_text() == "mine"
    assert (target / "sub" / "a.txt").read_text() == "new"
    assert (target / "b" / "c.txt").read_text() == "x"


def test_a_target_that_is_a_link_to_another_place_is_filled_there(place):
    (place / "elsewhere").mkdir()
    (place / "out" / "target").symlink_to(place / "elsewhere")
    try_unpack(place, zipped({"a.txt": b"x"}))
    assert (place / "out" / "target").is_symlink()
    assert (place / "elsewhere" / "a.txt").read_bytes() == b"x"


def test_what_a_killed_process_left_is_removed(place):
    left = place / "out" / ".target.0123abcd.partial"
    left.mkdir()
    (left / "half").write_text("half")
    try_unpack(place, zipped({"a.txt": b"x"}))
    assert [p.name for p in (place / "out").iterdir()] == ["target"]


def test_a_gz_is_unpacked_once_its_content_is_accepted(tmp_path):
    (tmp_path / "w.h5.gz").write_bytes(gzip.compress(b"weights"))
    seen = []
    gunzip(
        tmp_path / "w.h5.gz", tmp_path / "m" / "w.h5", 100, lambda p: seen.append(p.read_bytes())
    )
    assert seen == [b"weights"]
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["w.h5"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (gzip.compress(bytes(1000)), "unpacks to more than 999 bytes"),
        (gzip.compress(b"weights")[:-3], "damaged"),
        (b"weights", "damaged"),
    ],
    ids=["too large", "cut short", "no gz"],
)
def test_a_bad_gz_leaves_nothing(content, match, tmp_path):
    (tmp_path / "w.h5.gz").write_bytes(content)
    with pytest.raises(ArchiveError, match=match):
        gunzip(tmp_path / "w.h5.gz", tmp_path / "m" / "w.h5", 999, lambda path: None)
    assert list((tmp_path / "m").iterdir()) == []


def test_a_gz_whose_content_is_not_accepted_leaves_nothing(tmp_path):
    def refuse(path: Path) -> None:
        raise ArchiveError("not it")

    (tmp_path / "w.h5.gz").write_bytes(gzip.compress(b"weights"))
    with pytest.raises(ArchiveError, match="not it"):
        gunzip(tmp_path / "w.h5.gz", tmp_path / "m" / "w.h5", 999, refuse)
    assert list((tmp_path / "m").iterdir()) == []


@pytest.fixture
def tmpfs(tmp_path):
    """A disk of 1 MB."""
    disk = small_disk(tmp_path / "small")
    try:
        folder = disk.__enter__()
    except (LookupError, FileNotFoundError) as error:
        pytest.skip(str(error))
    yield folder
    disk.__exit__(None, None, None)


def test_a_disk_that_gets_full_leaves_nothing(tmpfs, tmp_path):
    # A tar.gz does not say beforehand how much it holds, so the disk really gets full.
    (tmp_path / "archive").write_bytes(
        tar_gz({"a": b"x", "b": random.Random(0).randbytes(3_000_000)})
    )
    with pytest.raises(DownloadError, match=r"the disk \(or a quota\) is full, .*nothing was left"):
        unpack(tmp_path / "archive", tmpfs / "target", ROOMY)
    assert list(tmpfs.iterdir()) == []
    enlarge_disk(tmpfs, "8m")
    assert unpack(tmp_path / "archive", tmpfs / "target", ROOMY) == {"a": 1, "b": 3_000_000}


def test_a_disk_that_is_too_small_for_a_zip_is_noticed_before_writing(tmpfs, tmp_path):
    (tmp_path / "archive").write_bytes(zipped({"a": bytes(3_000_000)}))
    with pytest.raises(DownloadError, match=r"takes about 3 MB, and 1.05 MB are free; make room"):
        unpack(tmp_path / "archive", tmpfs / "target", ROOMY)
    assert list(tmpfs.iterdir()) == []


def test_a_limit_on_the_size_of_files_leaves_nothing(tmp_path):
    # Stands in for a quota: the system refuses to let a file of this process grow further.
    (tmp_path / "archive").write_bytes(
        tar_gz({"a": b"x", "b": random.Random(0).randbytes(3_000_000)})
    )
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from biasmir_utils.datasets.archives import Bounds, unpack\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "unpack(Path(sys.argv[1]), Path(sys.argv[2]), Bounds(10_000_000, 10))\n"
    )
    target = tmp_path / "out" / "target"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "archive"), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "DownloadError" in done.stderr.splitlines()[-1]
    assert "the disk (or a quota) is full" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []
