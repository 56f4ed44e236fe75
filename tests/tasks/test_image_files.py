"""Image stores list and read the same files, and refuse what is damaged or not plain."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from bitwright.problems.errors import InputError
from bitwright.tasks.image_files import FolderStore, TarStore, decode_all, open_store


def encoded(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def decoded(as_folder, content: bytes, size: int = 8):
    return decode_all(FolderStore(as_folder({"x": content})), ["x"], size=size)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_folder_and_tar_agree(as_folder, as_tar, pictures, mode):
    """A folder and its tar, plain or compressed, hold the same files with the same content."""
    folder, tar = open_store(as_folder(pictures)), open_store(as_tar(pictures, mode=mode))
    assert isinstance(folder, FolderStore)
    assert isinstance(tar, TarStore)
    assert folder.files == tar.files == tuple(sorted(pictures))
    wanted = ["truck/3.png", "bike/0.png"]
    expected = {name: pictures[name] for name in wanted}
    assert dict(folder.read(wanted)) == dict(tar.read(wanted)) == expected


def test_a_folder_may_hold_the_tar(as_tar, pictures, tmp_path):
    """`images.tar` inside the folder is taken."""
    as_tar(pictures)
    assert open_store(tmp_path).path == tmp_path / "images.tar"


def test_member_names_are_tidied(as_tar):
    """A leading `./` is dropped, and hidden files are no files."""
    store = TarStore(as_tar({"./a/1.png": b"x", "a/._1.png": b"y", ".git/c": b"z"}))
    assert store.files == ("a/1.png",)


def test_hidden_files_and_folders_are_left_out(as_folder):
    """What starts with a dot is not listed, and no class folder."""
    root = as_folder({"a/1.png": b"x", ".cache/2.png": b"y", "a/.DS_Store": b"z"})
    assert FolderStore(root).files == ("a/1.png",)
    assert FolderStore(root).folders == ("a",)


def test_decoding_keeps_the_order_asked_for(as_tar, pictures):
    """Images come in the order of the names, whatever their order in the archive."""
    store = TarStore(as_tar(pictures))
    names = sorted(pictures, reverse=True)
    images = decode_all(store, names, size=9)
    assert images.shape == (len(names), 3, 9, 9)
    assert images.dtype == np.uint8
    for image, name in zip(images, names, strict=True):
        np.testing.assert_array_equal(image, decode_all(store, [name], size=9)[0])


def test_pixels_at_full_size(as_folder):
    """Without a change of size the pixels are those of the file, channels first."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    found = decoded(as_folder, encoded(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(found[0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "I;16"])
def test_any_mode_becomes_rgb(as_folder, mode):
    """Grey, palette, transparent and other pictures are read as RGB."""
    form = "TIFF" if mode in {"CMYK", "I;16"} else "PNG"
    assert decoded(as_folder, encoded(Image.new(mode, (8, 8)), form)).shape == (1, 3, 8, 8)


def test_orientation_is_applied(as_folder):
    """A photo that says it lies on its side is turned upright."""
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    found = decoded(as_folder, encoded(Image.fromarray(pixels), "PNG", exif=exif))
    np.testing.assert_array_equal(found[0], pixels[::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_not_an_image(as_folder, content):
    """Other files are refused by name, PostScript among them, which Pillow hands to Ghostscript."""
    with pytest.raises(InputError, match=r"'x' in '.*pictures' is not an image; known: BMP, JPEG"):
        decoded(as_folder, content)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_truncated_image(as_folder, form, kept):
    """A file cut short is refused by name, not padded with grey."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(pixels), form)
    with pytest.raises(
        InputError, match=r"'x' in '.*pictures' (cannot be decoded|is not an image)"
    ):
        decoded(as_folder, content[: int(kept * len(content))])


@pytest.mark.parametrize("limit", [60, 30])
def test_too_many_pixels(as_folder, monkeypatch, limit):
    """Pillow's warning and its error about decompression bombs are both errors."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(
        InputError, match=r"image 'x' in '.*' is too large: Image size \(100 pixels\)"
    ):
        decoded(as_folder, encoded(Image.new("RGB", (10, 10)), "PNG"))


def test_missing_folder(as_folder, tmp_path):
    """A folder that does not exist is named, with the nearest one beside it."""
    as_folder({"a": b""})
    with pytest.raises(InputError, match=r"'.*picture' does not exist; did you mean 'pictures'"):
        open_store(tmp_path / "picture")
    with pytest.raises(InputError, match="does not exist; none is known"):
        open_store(tmp_path / "no" / "where")


@pytest.mark.parametrize("target", ["file", "folder"])
def test_links_in_a_folder(as_folder, tmp_path, target):
    """A link could lead anywhere, so it is refused."""
    root = as_folder({"a/1.png": b"x"})
    (root / "b").symlink_to(tmp_path if target == "folder" else root / "a/1.png")
    with pytest.raises(InputError, match="pictures/b' is a link; an image folder must hold plain"):
        open_store(root)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_in_a_tar(as_tar, kind):
    """Links and devices in a tar are refused."""
    member = tarfile.TarInfo("a/2.png")
    member.type = kind
    member.linkname = "a/1.png"
    with pytest.raises(InputError, match=r"member 'a/2.png' of tar '.*' is a link or a device"):
        open_store(as_tar({"a/1.png": b"x"}, member))


def test_member_twice(as_tar):
    """A tar may hold a name twice; then it is unclear which is meant."""
    with pytest.raises(InputError, match=r"tar '.*' holds 'a/1.png' twice"):
        open_store(as_tar({"a/1.png": b"x", "./a/1.png": b"y"}))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.9])
def test_truncated_tar(as_tar, pictures, mode, kept):
    """A tar cut short anywhere is refused instead of read in part."""
    path = as_tar(pictures, mode=mode)
    content = path.read_bytes()
    end = len(content) if mode == "w:gz" else 1024 * len(pictures)
    path.write_bytes(content[: int(kept * end)])
    with pytest.raises(InputError, match=r"images.tar' is not a whole tar file: ."):
        open_store(path)


def test_tar_cut_between_members(as_tar, pictures):
    """Python's tarfile ends quietly at a cut between two members; the missing end mark tells."""
    path = as_tar(pictures)
    with tarfile.open(path) as tar:
        end = tar.getmembers()[12].offset
    path.write_bytes(path.read_bytes()[:end])
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 12
    with pytest.raises(InputError, match="is not a whole tar file: its end mark is missing"):
        open_store(path)


def test_not_a_tar(tmp_path):
    """A file that is no tar is refused."""
    path = tmp_path / "data.zip"
    path.write_bytes(b"PK" * 1000)
    with pytest.raises(InputError, match=r"data.zip' is not a whole tar file"):
        open_store(path)
