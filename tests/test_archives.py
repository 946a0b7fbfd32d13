"""Archives from strangers: what is in good ones, and what becomes of hostile ones made here."""

import gzip
import io
import os
import random
import stat
import struct
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from i2i.datasets.download.archives import Extracted, Limits, extract
from i2i.errors import I2IError


def tar(
    path: Path, *entries: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w:gz", kind: int = tarfile.PAX_FORMAT
) -> Path:
    with tarfile.open(path, mode, format=kind) as packed:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                packed.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size, info.mode = len(entry[1]), 0o4777
                packed.addfile(info, io.BytesIO(entry[1]))
    return path


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries:
            packed.writestr(name, content)
    return path


def info(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


def zip_info(name: str, mode: int) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name)
    found.external_attr = mode << 16
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(archive: Path, folder: Path, **options) -> str:
    """Extracts into a folder of its own: the message, and nothing may have been written beside it."""
    inside = folder / "inside"
    inside.mkdir()
    before = contents(folder)
    with pytest.raises(I2IError) as error:
        extract(archive, inside, **options)
    outside = {name: b for name, b in contents(folder).items() if not name.startswith("inside/")}
    assert outside == before
    assert str(archive) in str(error.value)
    return str(error.value)


GOOD = [("set/trainA/1.jpg", b"one"), ("set/trainB/ö 2.jpg", b"two" * 1000), ("set/readme.txt", b"read me")]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "gnu"])
def test_the_files_of_an_archive_are_those_that_went_in(tmp_path, kind):
    path, folder = tmp_path / "a", tmp_path / "out"
    folder.mkdir()
    if kind == "zip":
        zipped(path, ("set/", b""), *GOOD)
    else:
        form = tarfile.GNU_FORMAT if kind == "gnu" else tarfile.PAX_FORMAT
        tar(path, info("./set", tarfile.DIRTYPE), *GOOD, mode="w:gz" if kind == "tar.gz" else "w", kind=form)
    assert extract(path, folder) == Extracted(3, 0)
    assert contents(folder) == dict(GOOD)


def test_only_what_is_asked_for_is_written_where_it_is_asked_for(tmp_path):
    path, folder = tar(tmp_path / "a.tar.gz", *GOOD, ("./set/trainA/3.jpg", b"three")), tmp_path / "out"
    folder.mkdir()

    def place(path: PurePosixPath) -> PurePosixPath | None:
        return PurePosixPath(*path.parts[1:]) if path.suffix == ".jpg" else None

    assert extract(path, folder, place) == Extracted(3, 1)
    assert contents(folder) == {"trainA/1.jpg": b"one", "trainA/3.jpg": b"three", "trainB/ö 2.jpg": b"two" * 1000}


@pytest.mark.skipif(sys.platform == "win32", reason="no permission bits")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_permission_bits_are_not_taken_over(tmp_path, kind):
    folder = tmp_path / "out"
    folder.mkdir()
    make = {
        "zip": lambda p: zipped(p, (zip_info("x.jpg", stat.S_IFREG | 0o4777), b"x")),
        "tar": lambda p: tar(p, ("x.jpg", b"x")),
    }
    extract(make[kind](tmp_path / "a"), folder)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((folder / "x.jpg").stat().st_mode) == 0o666 & ~umask


HOSTILE_NAMES = [
    *(
        "/etc/passwd",
        "../outside.jpg",
        "set/../../outside.jpg",
        "C:/x.jpg",
        "set\\..\\x.jpg",
        "set/x\n.jpg",
        "set/x\x7f.jpg",
    ),
    *("set/CON", "set/nul.jpg", "set/com1.x.jpg", "aux/x.jpg", "set/x.jpg.", "set/x ", "set/a:b.jpg", "set/what?.jpg"),
    *("set/" + "x" * 300, "set/LPT¹.jpg", "set/\x9b2J.jpg"),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_hostile_name_is_refused(tmp_path, kind, name):
    pack = {"zip": zipped, "tar": tar}[kind]
    message = refused(pack(tmp_path / "a", ("good.jpg", b"x"), (name, b"x")), tmp_path)
    assert "leads out of the folder" in message or "no name that every system can hold" in message


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_long_path_is_refused_in_a_short_message(tmp_path, kind):
    message = refused({"zip": zipped, "tar": tar}[kind](tmp_path / "a", ("x/" * 5000 + "x.jpg", b"x")), tmp_path)
    assert "longer than 1,024 letters" in message and len(message) < 300 + len(str(tmp_path))


def test_a_name_that_is_no_unicode_is_refused(tmp_path):
    path = tar(tmp_path / "a.tar", ("ZZ.jpg", b"x"), mode="w")
    data = bytearray(path.read_bytes())
    data[0:2] = b"\xe9\xff"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    assert "no name that every system can hold" in refused(path, tmp_path)


def test_a_zero_byte_does_not_hide_the_end_of_a_name(tmp_path):
    path = zipped(tmp_path / "a.zip", ("set/x.jpgZ.exe", b"x"))
    path.write_bytes(path.read_bytes().replace(b"x.jpgZ.exe", b"x.jpg\x00.exe"))
    assert "no name" in refused(path, tmp_path)


@pytest.mark.parametrize(
    "name", ["con.jpg.d/x.jpg", "console.jpg", "set/nullable.jpg", "set/.x.jpg", "set/x..jpg", "set/日本.jpg"]
)
def test_a_name_that_only_looks_odd_is_taken(tmp_path, name):
    folder = tmp_path / "out"
    folder.mkdir()
    path = tar(tmp_path / "a.tar", (name, b"x"))
    if name.startswith("con."):
        with pytest.raises(I2IError):
            extract(path, folder)
    else:
        assert extract(path, folder).n_written == 1 and contents(folder) == {name: b"x"}


LINKS = [
    (tarfile.SYMTYPE, "/etc/passwd", "is a link"),
    (tarfile.SYMTYPE, "good.jpg", "is a link"),
    (tarfile.LNKTYPE, "good.jpg", "is a link"),
    (tarfile.CHRTYPE, "", "no ordinary file"),
    (tarfile.BLKTYPE, "", "no ordinary file"),
    (tarfile.FIFOTYPE, "", "no ordinary file"),
    (tarfile.GNUTYPE_SPARSE, "", ""),
]


@pytest.mark.parametrize(("kind", "target", "message"), LINKS)
def test_links_and_devices_are_refused(tmp_path, kind, target, message):
    path = tar(tmp_path / "a.tar", ("good.jpg", b"x"), info("x", kind, target))
    assert message in refused(path, tmp_path)


@pytest.mark.parametrize(("mode", "message"), [(stat.S_IFLNK, "is a link"), (stat.S_IFCHR, "no ordinary file")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode, message):
    assert message in refused(zipped(tmp_path / "a.zip", (zip_info("x", mode | 0o777), b"/etc/passwd")), tmp_path)


def test_a_link_cannot_be_a_way_out_for_the_next_entry(tmp_path):
    path = tar(tmp_path / "a.tar", info("way", tarfile.SYMTYPE, ".."), ("way/out.jpg", b"x"))
    assert "is a link" in refused(path, tmp_path)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", ("x.jpg", b"x"))
    packed = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + offset] |= 1
    path.write_bytes(packed)
    assert "is encrypted" in refused(path, tmp_path)


def test_a_rare_compression_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("x.jpg", b"x")
    assert "packed by method 14" in refused(tmp_path / "a.zip", tmp_path)


@pytest.mark.parametrize(
    "names", [("a.jpg", "a.jpg"), ("a.jpg", "A.JPG"), ("./a.jpg", "a.jpg"), ("\u00e9.jpg", "e\u0301.jpg")]
)
def test_two_entries_of_one_name_are_refused(tmp_path, names):
    path = tar(tmp_path / "a.tar", *((name, b"x") for name in names))
    assert "is in it twice" in refused(path, tmp_path)


@pytest.mark.parametrize("names", [("a", "a/b.jpg"), ("a/b.jpg", "a")])
def test_a_file_where_a_folder_is_is_refused(tmp_path, names):
    path = tar(tmp_path / "a.tar", *((name, b"x") for name in names))
    assert "stands where another entry is" in refused(path, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_limits(tmp_path, kind):
    pack = {"zip": zipped, "tar": tar}[kind]
    path = pack(tmp_path / "a", ("1.jpg", b"x" * 10), ("2.jpg", b"x" * 10), ("3.jpg", b"x" * 10))
    for limits, message in [
        (Limits(n_entries=2), "more than 2 entries"),
        (Limits(total=29), "unpacks to more than 29 bytes"),
        (Limits(single=9), "has 10 bytes; at most 9"),
    ]:
        folder = tmp_path / message.replace(" ", "-")
        folder.mkdir()
        assert message in refused(path, folder, limits=limits)
    folder = tmp_path / "out"
    folder.mkdir()
    assert extract(path, folder, limits=Limits(n_entries=3, total=30, single=10)).n_written == 3


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path, kind):
    pack = {"zip": zipped, "tar": tar}[kind]
    path = pack(tmp_path / "a", ("x.jpg", bytes(2**25)))
    assert path.stat().st_size < 2**17
    assert "a bomb" in refused(path, tmp_path)


def test_a_list_of_entries_that_fills_the_memory_is_refused_before_it_is_read(tmp_path):
    n = 40_000
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, *[0] * 7, 1, *[0] * 6) + b"x"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, n, n, n * len(entry), 0, 0)
    (tmp_path / "a.zip").write_bytes(entry * n + end)
    assert "oversized header" in refused(tmp_path / "a.zip", tmp_path, limits=Limits(n_entries=1000))


def test_the_headers_of_a_tar_are_not_kept(tmp_path):
    path, folder = tar(tmp_path / "a.tar.gz", *((f"{n}.jpg", b"") for n in range(5000))), tmp_path / "out"
    folder.mkdir()
    tracemalloc.start()
    assert extract(path, folder, wanted=lambda _: None).n_left_out == 5000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5000 * 500  # a name each; a header is some 1,000 bytes


def test_a_header_that_fills_the_memory_is_refused(tmp_path):
    huge = info("pax", tarfile.XHDTYPE)
    huge.size = 2**32
    with gzip.open(tmp_path / "a.tar.gz", "wb") as packed:
        packed.write(huge.tobuf() + bytes(2**20))
    assert "oversized header" in refused(tmp_path / "a.tar.gz", tmp_path)


def test_headers_of_headers_without_end_are_refused(tmp_path):
    with gzip.open(tmp_path / "a.tar.gz", "wb") as packed:
        packed.write(info("x", tarfile.XGLTYPE).tobuf() * 5000)
    assert "is damaged" in refused(tmp_path / "a.tar.gz", tmp_path)


def test_a_negative_size_is_refused(tmp_path):
    header = bytearray(info("x.jpg", tarfile.REGTYPE).tobuf())
    header[124:136] = b"\xff" * 11 + b"\xfe"  # -2 in base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(header + bytes(2048))
    refused(tmp_path / "a.tar", tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_what_is_cut_off_is_refused(tmp_path, kind, share):
    files = [(f"{n}.jpg", os.urandom(5000)) for n in range(5)]
    path = (
        zipped(tmp_path / "a", *files)
        if kind == "zip"
        else tar(tmp_path / "a", *files, mode="w:gz" if "gz" in kind else "w")
    )
    whole = path.read_bytes()
    # Of a plain tar, the zeros at its end do not count.
    path.write_bytes(whole[: int(share * (len(whole.rstrip(b"\0")) if kind == "tar" else len(whole)))])
    refused(path, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_whatever_bytes_are_wrong_there_is_one_short_message_or_none(tmp_path, kind):
    files = [(f"top/{n}.jpg", bytes([n]) * 50) for n in range(3)] + [("top/" + "x" * 150, b"y")]
    path = zipped(tmp_path / "a", *files) if kind == "zip" else tar(tmp_path / "a", *files, mode="w")
    good, rng = path.read_bytes(), random.Random(0)
    for n in range(400):
        bad = bytearray(good)
        for place in rng.choices(range(len(bad)), k=rng.choice([1, 3, 20])):
            bad[place] = rng.choice([0, 255, rng.randrange(256)])
        path.write_bytes(gzip.compress(bad, 1) if kind == "tar.gz" else bad)
        (folder := tmp_path / f"{n}").mkdir()
        try:
            extract(path, folder)
        except I2IError as error:
            (problem,) = error.problems
            assert len(problem.message) < 300 and "\n" not in problem.message


def test_an_entry_without_a_name_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", ("Z.jpg", b"x"))
    path.write_bytes(path.read_bytes().replace(b"Z.jpg", b"\0.jpg"))
    assert refused(path, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_flipped_bit_is_found(tmp_path, kind):
    files = [(f"{n}.jpg", os.urandom(5000)) for n in range(5)]
    path = zipped(tmp_path / "a", *files) if kind == "zip" else tar(tmp_path / "a", *files)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 16
    path.write_bytes(damaged)
    refused(path, tmp_path)


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end(tmp_path):
    path = tar(tmp_path / "a.tar", ("1.jpg", b"x"), ("2.jpg", b"x"), mode="w")
    damaged = bytearray(path.read_bytes())
    damaged[1024 + 150] ^= 1  # the checksum of the second header
    path.write_bytes(damaged)
    assert "damaged in the middle" in refused(path, tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x1f\x8bnot gzip", b"PK\x03\x04"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    assert "is damaged, or no file of its kind: " in refused(tmp_path / "a.zip", tmp_path)
