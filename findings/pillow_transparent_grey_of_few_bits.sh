#!/usr/bin/env bash
# Pillow 13.0.0, seen 2026-11-27: in a PNG of 2 or 4 bits of grey, the shade that is to be transparent is not.
#
# A greyscale PNG may name one shade as transparent, by its value in the file: 0 to 3 at 2 bits, 0 to 15 at 4. Pillow
# scales the pixels to 0 to 255 and leaves the named value as it stands in the file. Converted to RGBA, no pixel has that
# value, so nothing becomes transparent: a background that was meant to vanish stays, in its shade.
# Expected: alpha 0 where the file says so. Mend: compare with value * 255 / (2 ** bits - 1).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" - <<'PY'
import io
import struct
import zlib

from PIL import Image


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(bits, shade):
    """One row of two pixels, `shade` and 0, with `shade` as the transparent one."""
    header = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    row = bytes([0, shade << (8 - bits)])
    parts = [(b"IHDR", header), (b"tRNS", struct.pack(">H", shade)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


seen = {}
for bits, shade in ((2, 2), (4, 9), (8, 9)):
    data = png(bits, shade) if bits < 8 else None
    if data is None:
        image, buffer = Image.new("L", (2, 1)), io.BytesIO()
        image.putpixel((0, 0), shade)
        image.save(buffer, "PNG", transparency=shade)
        data = buffer.getvalue()
    picture = Image.open(io.BytesIO(data))
    seen[bits] = picture.convert("RGBA").getpixel((0, 0))
    print(f"{bits} bits, transparent shade {shade}: {seen[bits]}")
assert seen[8][3] == 0 and seen[2][3] == 255 and seen[4][3] == 255
PY
