"""Draw the contact sheet of the synthetic faces: `python docs/synthetic_faces.py docs/images/synthetic_faces.png`.

Above: the neutral face, then the same face with one finding each. Below: simulated people of four syndromes.
"""

import sys

from PIL import Image, ImageDraw, ImageFont

from mint_ray.corpora.faces import Look, neutral_face, portrait
from mint_ray.corpora.faces.findings import FINDINGS

TILE, COLUMNS = 96, 14


def tile(name: str, face: Image.Image) -> Image.Image:
    """A face with its finding's name below."""
    picture = Image.new("RGB", (TILE, TILE + 14), "white")
    picture.paste(face, (0, 0))
    ImageDraw.Draw(picture).text((2, TILE + 2), name[:20], "black", ImageFont.load_default(9))
    return picture


def sheet(tiles: list[Image.Image], columns: int = COLUMNS) -> Image.Image:
    width, height = tiles[0].size
    picture = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    for i, one in enumerate(tiles):
        picture.paste(one, (i % columns * width, i // columns * height))
    return picture


if __name__ == "__main__":
    tiles = [tile("neutral", portrait(neutral_face(), Look(), TILE))]
    for term_id, (name, _) in FINDINGS.items():
        tiles.append(tile(name, portrait(neutral_face([term_id]), Look(), TILE)))
    sheet(tiles).quantize(128).save(sys.argv[1], optimize=True)
