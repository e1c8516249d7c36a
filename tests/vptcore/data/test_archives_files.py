"""What is found in folders, zips and tars, and archives that are broken or lead out of themselves."""

from __future__ import annotations

import gzip
import io
import pickle
import stat
import tarfile
import zipfile

import pytest

from tests.vptcore.data.archive_layouts import make_files, make_tar, make_zip
from vptcore.data.item import load
from vptcore.data.readers.archives.files import PLAIN, below, entries, extracted, plain, read

MEMBERS = {"top/a.jpg": b"first" * 40, "top/deep/b.jpg": bytes(1000), "top/c.txt": b"third"}


def one_line(path) -> str:
    with pytest.raises(ValueError, match=str(path)) as caught:
        _ = [read(entry, f"{path}: {name}") for name, entry in entries(path).items()]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", ["folder", "zip", "stored", "tar", "gz"])
def test_every_form_gives_the_same_bytes(tmp_path, form):
    path = tmp_path / "archive"
    if form == "folder":
        make_files(path, MEMBERS | {".hidden/x.jpg": b"no", "top/._a.jpg": b"no"})
    elif form in ("zip", "stored"):
        method = zipfile.ZIP_STORED if form == "stored" else zipfile.ZIP_DEFLATED
        make_zip(path, MEMBERS | {"__MACOSX/top/._a.jpg": b"no"}, method)
    else:
        make_tar(path, MEMBERS | {"./top/._a.jpg": b"no"}, "w:gz" if form == "gz" else "w")
    found = pickle.loads(pickle.dumps(entries(path)))
    assert {name: read(entry, name) for name, entry in found.items()} == MEMBERS


def test_a_compressed_file_is_written_out_once_and_anew_when_it_changes(tmp_path):
    path = tmp_path / "data.tar.gz"
    make_tar(path, {"a": b"1"})
    (first,) = entries(path).values()
    written = first.path.stat().st_mtime_ns
    (again,) = entries(path).values()
    assert first.path == again.path
    assert again.path.stat().st_mtime_ns == written
    make_tar(path, {"a": b"a longer one", "b": b"2"})
    assert len(entries(path)) == 2
    assert plain(tmp_path / PLAIN / first.path.name) == first.path
    assert [p.name for p in (tmp_path / PLAIN).iterdir() if p.name.endswith(".tmp")] == []


@pytest.mark.parametrize("name", ["../out.jpg", "a/../../out.jpg", "/etc/out.jpg", "C:out.jpg", "a\\..\\out.jpg"])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_names_that_lead_out_of_the_archive(tmp_path, name, make):
    path = make(tmp_path / "in" / "archive", {"fine.jpg": b"1", name: b"2"})
    message = one_line(path)
    assert repr(name) in message
    assert "leads out" in message
    assert {p.name for p in tmp_path.iterdir()} == {"in"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar(tmp_path, kind):
    path = tmp_path / "archive.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    assert "'a.jpg' is a link or a device" in one_line(path)


def test_a_link_in_a_zip(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "'a.jpg' is a link" in one_line(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_two_members_with_one_name(tmp_path, form):
    path = tmp_path / f"archive.{form}"
    if form == "tar":
        with tarfile.open(path, "w") as tar:
            for data in (b"1", b"2"):
                info = tarfile.TarInfo("a.jpg")
                info.size = 1
                tar.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.jpg", b"1")
            archive.writestr("a.jpg", b"2")
    assert "two members are named 'a.jpg'" in one_line(path)


@pytest.mark.parametrize("form", ["tar", "gz", "zip"])
def test_archives_that_break_off(tmp_path, form):
    path = tmp_path / "archive"
    whole = (make_zip if form == "zip" else make_tar)(
        path, MEMBERS, *([] if form == "zip" else ["w:gz" if form == "gz" else "w"])
    ).read_bytes()
    # 1024, 2560 and 3584 lie between two members of the plain tar.
    for cut in (10, 700, 1024, 1240, 2560, 3584, -4) if form == "tar" else (10, len(whole) // 2, -4):
        path.write_bytes(whole[:cut])
        if form == "tar" and cut == -4:  # in the padding after the end mark
            assert len(entries(path)) == len(MEMBERS)
        else:
            assert "not a whole archive" in one_line(path)
    assert not list(tmp_path.rglob("*.tmp"))
    path.write_bytes(b"")
    assert "an empty file" in one_line(path)


def test_a_flipped_byte_in_a_zip_and_an_empty_member(tmp_path):
    path = make_zip(tmp_path / "archive.zip", {"a.jpg": b"some pixels"}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"some", b"sole", 1))
    message = one_line(path)
    assert "a.jpg" in message
    assert "checksum" in message
    assert "a.jpg: an empty file" in one_line(make_zip(path, {"a.jpg": b""}))


def test_a_member_that_grows_beyond_its_size(tmp_path):
    path = make_zip(tmp_path / "archive.zip", {"a.jpg": bytes(100_000)})
    (entry,) = entries(path).values()
    small = (*entry.arguments[:4], 10, *entry.arguments[5:])
    with pytest.raises(ValueError, match=r"a\.jpg is broken"):
        entry.make(*small)


def test_the_folder_with_a_marker_and_an_inner_file(tmp_path):
    path = make_zip(tmp_path / "z.zip", {"x/data/labels/train1.txt": b"1", "x/data/images/a.jpg": b"2", "x/y": b"3"})
    assert set(below(entries(path), "labels/train1.txt", path)) == {"labels/train1.txt", "images/a.jpg"}
    with pytest.raises(ValueError, match=r"no labels/test1\.txt"):
        below(entries(path), "labels/test1.txt", path)
    assert extracted(path, "x/data/images/a.jpg").read_bytes() == b"2"


def test_a_folder_that_cannot_be_written(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x"))
    (tmp_path / PLAIN).write_text("a file in the way")
    with pytest.raises(ValueError, match="cannot be unpacked"):
        plain(path)


def test_a_file_that_went_away(tmp_path):
    root = make_files(tmp_path, {"a.jpg": b"1"})
    (entry,) = entries(root).values()
    (root / "a.jpg").unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        load(entry)
