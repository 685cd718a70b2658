"""Encoded images for tests: whole ones, and ones that a reader must refuse."""

import io
import struct
import zlib

from PIL import Image


def jpeg(width: int = 112, height: int = 112, colour: tuple[int, int, int] = (180, 140, 120), **save) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(encoded, "JPEG", **save)
    return encoded.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large and holds no pixel: what a decompression bomb looks like from outside."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
