"""Draws docs/images/synthetic_nuclei.png: two slides of each tissue, as the embedded corpus makes them."""

import io
from pathlib import Path

from PIL import Image, ImageDraw

from mint_ray.synthetic.patches import SimulatedNuclei

COLUMNS, SIDE, CAPTION = 5, 132, 16
TARGET = Path(__file__).parent.parent / "docs" / "images" / "synthetic_nuclei.png"


def sheet(corpus: SimulatedNuclei, seed: int = 7) -> Image.Image:
    """Tissues in rows of five, two patches of different slides each, named below."""
    tissues = len(corpus.tissues)
    rows = -(-tissues // COLUMNS)
    page = Image.new("RGB", (COLUMNS * 2 * SIDE, rows * (SIDE + CAPTION)), "white")
    pen = ImageDraw.Draw(page)
    for i, name in enumerate(corpus.tissues):
        x, y = 2 * SIDE * (i % COLUMNS), (SIDE + CAPTION) * (i // COLUMNS)
        for slide in range(2):
            case = corpus.patch(i + slide * corpus.patches * tissues, seed)
            patch = Image.open(io.BytesIO(case.image)).resize((SIDE - 4, SIDE - 4), Image.Resampling.LANCZOS)
            page.paste(patch, (x + slide * SIDE + 2, y + 2))
        pen.text((x + 4, y + SIDE), f"{name} (synthetic)", fill="black")
    return page


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    sheet(SimulatedNuclei(kind="simulated_nuclei")).quantize(72).save(TARGET, optimize=True)
    print(TARGET, TARGET.stat().st_size // 1024, "kB")
