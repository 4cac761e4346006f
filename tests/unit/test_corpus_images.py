"""Image files of every kind a folder holds become upright RGB pages, or are refused from their header."""

from __future__ import annotations

import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from vrag.corpus.images import count_frames, open_image, read_frame
from vrag.errors import BudgetExceeded, DocumentError, UnreadableDocument, UnsupportedFormat


def read(path: Path, frame: int = 1) -> np.ndarray:
    with open_image(path) as image:
        page = read_frame(image, frame)
    assert page.mode == "RGB"
    return np.asarray(page)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("size", [(60_000, 60_000), (20_000, 20_000), (1, 60_000), (60_000, 1), (300, 60_001)])
def test_bombs_and_strips_are_refused_from_the_header(tmp_path: Path, size: tuple[int, int]):
    path = png_header(tmp_path / "bomb.png", *size)
    with pytest.raises(DocumentError), open_image(path):
        pass  # imports done
    peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(BudgetExceeded), open_image(path):
        pass
    assert time.process_time() - started < 0.05
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 50 * 1024


def test_a_truncated_image_is_named_as_damaged(tmp_path: Path):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (200, 200, 3), dtype=np.uint8))
    for name in ("cut.jpg", "cut.png", "cut.tif", "cut.webp"):
        path = save(tmp_path / name, image)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(UnreadableDocument, match="damaged"):
            read(path)


def test_frames_of_a_tiff_are_pages(tmp_path: Path):
    frames = [Image.new("RGB", (40 + 10 * i, 30), (80 * i, 0, 0)) for i in range(3)]
    path = save(tmp_path / "fax.tif", frames[0], save_all=True, append_images=frames[1:])
    with open_image(path) as image:
        assert count_frames(image) == 3
        pages = [np.asarray(read_frame(image, number)) for number in (1, 2, 3)]
    assert [page.shape for page in pages] == [(30, 40, 3), (30, 50, 3), (30, 60, 3)]
    assert [int(page[0, 0, 0]) for page in pages] == [0, 80, 160]


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_frame_of_a_tiff_costs_itself_and_those_behind_it(tmp_path: Path, damaged: int):
    path = tmp_path / "fax.tiff"
    frames = [Image.new("RGB", (20 + number, 30), "navy") for number in range(3)]
    save(path, frames[0], save_all=True, append_images=frames[1:])
    content = bytearray(path.read_bytes())
    (place,) = struct.unpack_from("<I", content, 4)
    for _ in range(damaged):
        (count,) = struct.unpack_from("<H", content, place)
        (place,) = struct.unpack_from("<I", content, place + 2 + 12 * count)
    assert struct.unpack_from("<H", content, place + 2) == (TiffImagePlugin.IMAGEWIDTH,)
    struct.pack_into("<H", content, place + 2, 1)
    path.write_bytes(content)
    with open_image(path) as image:
        assert count_frames(image) == damaged + 1
        assert [read_frame(image, number).width for number in range(1, damaged + 1)] == [20, 21][:damaged]
        with pytest.raises(UnreadableDocument, match="damaged"):
            read_frame(image, damaged + 1)


def test_an_animation_is_one_page(tmp_path: Path):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    path = save(tmp_path / "move.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    with open_image(path) as image:
        assert count_frames(image) == 1
    assert tuple(read(path)[0, 0]) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_s_rotation_is_undone(tmp_path: Path, orientation: int):
    upright = Image.new("RGB", (60, 40), "white")
    upright.paste("red", (0, 0, 30, 20))  # top left
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that makes the stored image
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    page = read(save(tmp_path / "photo.png", stored, exif=exif))
    assert page.shape == (40, 60, 3)
    assert tuple(page[5, 5]) == (255, 0, 0)
    assert tuple(page[35, 55]) == (255, 255, 255)


def test_cmyk_becomes_the_colour_it_means(tmp_path: Path):
    page = read(save(tmp_path / "print.jpg", Image.new("CMYK", (20, 20), (0, 255, 255, 0)), quality=95))
    red, green, blue = page[10, 10].astype(int)
    assert red > 230 and green < 30 and blue < 30


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_shows_white_paper(tmp_path: Path, mode: str):
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 10, 20))
    if mode == "PA":
        path = save(tmp_path / "clear.png", image.quantize(4))
    else:
        path = save(tmp_path / "clear.png", image.convert(mode))
    page = read(path)
    assert page[5, 2].max() < 10
    assert page[5, 15].min() > 245


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_brightness(tmp_path: Path, suffix: str):
    values = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (8, 1))
    page = read(save(tmp_path / f"deep.{suffix}", Image.fromarray(values)))
    assert abs(page[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_floats_are_stretched_over_their_range(tmp_path: Path):
    values = np.tile(np.linspace(-2, 3, 256).astype(np.float32), (8, 1))
    page = read(save(tmp_path / "float.tif", Image.fromarray(values)))
    assert abs(page[0, :, 0].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_plain_modes_are_pages(tmp_path: Path, mode: str):
    assert read(save(tmp_path / "plain.png", Image.new(mode, (10, 10), 1))).shape == (10, 10, 3)


def test_a_large_image_is_scaled_to_the_budget_of_a_page(tmp_path: Path):
    page = read(save(tmp_path / "large.png", Image.new("L", (8000, 5000), 255)))
    assert 31_000_000 < page.shape[0] * page.shape[1] <= 32_000_000
    assert abs(page.shape[1] / page.shape[0] - 1.6) < 0.01


def test_a_long_image_is_scaled_to_what_jpeg_can_hold(tmp_path: Path):
    path = save(tmp_path / "roll.png", Image.new("1", (70_000, 400), 1))
    with open_image(path) as image:
        page = read_frame(image, 1)
    assert page.size == (65_000, 371)
    page.save(tmp_path / "stored.jpg", quality=1)


def test_what_is_no_image_is_not_guessed_at(tmp_path: Path):
    path = tmp_path / "notes.png"
    path.write_text("just text")
    with pytest.raises(UnsupportedFormat), open_image(path):
        pass
    path.write_bytes(b"")
    with pytest.raises(UnreadableDocument, match="empty"), open_image(path):
        pass


def test_a_format_outside_the_list_is_refused(tmp_path: Path):
    path = tmp_path / "pretends.png"
    Image.new("RGB", (9, 9)).save(path, "BMP")
    with pytest.raises(UnsupportedFormat), open_image(path):
        pass


def test_a_bomb_in_a_later_frame_is_refused_too(tmp_path: Path):
    first = Image.new("L", (10, 10))
    path = save(tmp_path / "late.tif", first, save_all=True, append_images=[Image.new("L", (10, 10))])
    raw = bytearray(path.read_bytes())
    with Image.open(path) as image:
        image.seek(1)
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        offset = image.tag_v2.offset if hasattr(image.tag_v2, "offset") else image._frame_pos[1]
    entries = struct.unpack_from("<H", raw, offset)[0]
    for entry in range(entries):
        at = offset + 2 + 12 * entry
        if struct.unpack_from("<H", raw, at)[0] in (256, 257):  # width, height
            struct.pack_into("<HI", raw, at + 2, 4, 1)
            struct.pack_into("<I", raw, at + 8, 50_000)
    path.write_bytes(raw)
    with open_image(path) as image, pytest.raises(BudgetExceeded):
        read_frame(image, 2)


def test_a_file_in_memory_is_read_like_one_on_disk(tmp_path: Path):
    path = save(tmp_path / "page.png", Image.new("RGBA", (30, 20), (9, 8, 7, 200)))
    with open_image(path.read_bytes()) as image:
        assert np.array_equal(np.asarray(read_frame(image, 1)), read(path))
    with pytest.raises(UnreadableDocument, match="empty"), open_image(b""):
        pass
    with pytest.raises(UnsupportedFormat), open_image(b"neither"):
        pass
