"""Draw the pictures of synthetic faces: `python docs/synthetic_faces.py docs/images`.

`synthetic_faces.png`: the neutral face, the same face with one finding each, then simulated patients of the demo.
`synthetic_face.png`: one patient of the demo with Williams-Beuren syndrome, for the README's request.
"""

import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mint_ray.config import load_config
from mint_ray.records import Case
from mint_ray.synthetic.faces import Look, neutral_face, portrait
from mint_ray.synthetic.faces.findings import FINDINGS

TILE, COLUMNS = 104, 14
DEMO = Path(__file__).parent.parent / "configs" / "demo.yaml"
WILLIAMS = "OMIM:194050"
TITLE = "Synthetic faces, drawings of nobody: neutral, then one finding each; below, simulated patients of the demo"


def tile(name: str, face: Image.Image) -> Image.Image:
    """A face with its finding's name below."""
    picture = Image.new("RGB", (TILE, TILE + 14), "white")
    picture.paste(face, (0, 0))
    ImageDraw.Draw(picture).text((2, TILE + 2), name[:22], "black", ImageFont.load_default(9))
    return picture


def sheet(tiles: list[Image.Image]) -> Image.Image:
    """Tiles in rows under the title."""
    width, height = tiles[0].size
    picture = Image.new("RGB", (COLUMNS * width, 20 - (-len(tiles) // COLUMNS) * height), "white")
    ImageDraw.Draw(picture).text((4, 3), TITLE, "black", ImageFont.load_default(12))
    for i, one in enumerate(tiles):
        picture.paste(one, (i % COLUMNS * width, 20 + i // COLUMNS * height))
    return picture


def findings() -> list[Image.Image]:
    named = [("neutral", [])] + [(name, [term_id]) for term_id, (name, _) in FINDINGS.items()]
    return [tile(name, portrait(neutral_face(terms), Look(), TILE)) for name, terms in named]


def patients(count: int) -> list[Case]:
    demo = load_config(DEMO)
    return [demo.corpus.patient(number, demo.run.seed) for number in range(count)]


def tiles(cases: list[Case]) -> list[Image.Image]:
    return [tile(c.label_name, Image.open(io.BytesIO(c.image)).resize((TILE, TILE))) for c in cases]


if __name__ == "__main__":
    out, drawn = Path(sys.argv[1]), patients(3 * COLUMNS)
    alone = findings()
    blank = [Image.new("RGB", alone[0].size, "white")] * (-len(alone) % COLUMNS)
    sheet([*alone, *blank, *tiles(drawn)]).quantize(160).save(out / "synthetic_faces.png", optimize=True)
    (out / "synthetic_face.png").write_bytes(next(case.image for case in drawn if case.label_id == WILLIAMS))
