"""What the simulation draws for each tissue: one table, a row a tissue, in pixels of 0.25 µm (40x).

The rows follow the textbook look of each tissue (glands with goblet cells: colon; colloid follicles:
thyroid; hepatocyte plates and sinusoids: liver ...), simplified until a few numbers can say it. They
make a patch that looks like H&E; they are no model of pathology.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Appearance:
    """How one tissue is drawn. Lengths in pixels at 40x, shares and concentrations around 0 to 1."""

    words: str  # what the caption says of it
    layout: Literal["rings", "plates", "nests", "sheet", "bundles"]
    scale: float = 40  # radius of a ring, width between two sinusoids, size of a nest
    gap: float = 1.1  # rings: distance of neighbours in diameters (1: touching)
    wall: float = 1.0  # rings: share of the radius that the cells fill (1: solid)
    basal: float = 0.7  # rings: where nuclei lie between the centre (0) and the rim (1)
    stratified: float = 0.1  # rings: how far they stray from there
    lumen: Literal["empty", "colloid", "mucin", "secretion"] = "empty"
    layered: bool = False  # sheet: cells grow large and flat towards a surface
    radius: float = 10  # of a nucleus, the mean half axis
    elongation: float = 1.25  # long by short axis of a nucleus
    orient: Literal["any", "radial", "tangential"] = "any"
    spacing: float = 24  # between the centres of neighbouring nuclei
    irregular: float = 0.1  # of a nucleus's outline
    variety: float = 0.12  # of nuclear size within a patch
    dark: float = 0.75  # hematoxylin of a nucleus
    clumps: float = 0.35  # coarseness of its chromatin
    rim: float = 0.3  # of its membrane
    nucleoli: float = 0.3  # how many nuclei show one
    pink: float = 0.5  # eosin of the cytoplasm
    blue: float = 0.06  # hematoxylin of the cytoplasm
    grain: float = 0.2  # granules of the cytoplasm
    clear: float = 0.0  # share of clear cells
    vacuoles: float = 0.0  # fat droplets within cells
    goblets: float = 0.0  # share of cells with a mucin drop
    borders: float = 0.15  # of cell borders; below 0: pale gaps between cells
    fibres: float = 0.55  # eosin of the stroma
    weave: float = 0.5  # how coarse its fibres are
    clefts: float = 0.1  # empty space in it
    spindles: float = 0.5  # its fibroblasts
    lymphocytes: float = 0.1  # small dark round cells in it
    fat: float = 0.0  # fat cells in it
    blood: float = 0.1  # red cells in its vessels
    keratin: float = 0.0  # whorls or layers of it
    pigment: float = 0.0  # melanin or carbon


APPEARANCES: dict[str, Appearance] = {
    "Adrenal_gland": Appearance(
        "nests of foamy clear cells with small round nuclei between thin capillaries",
        "plates", scale=46, radius=7, elongation=1.08, spacing=25, variety=0.08, dark=0.85, clumps=0.3, nucleoli=0.15,
        pink=0.26, grain=0.25, vacuoles=0.75, borders=0.25, fibres=0.45, spindles=0.25, lymphocytes=0.0, blood=0.35,
    ),
    "Bile-duct": Appearance(
        "small irregular ducts of cuboidal cells with vesicular nuclei in dense scarred stroma",
        "rings", scale=36, gap=1.35, wall=0.62, basal=0.68, radius=9.5, elongation=1.2, orient="radial", spacing=17,
        variety=0.2, irregular=0.16, dark=0.5, clumps=0.6, rim=0.5, nucleoli=0.5, pink=0.5, fibres=0.95, weave=0.8, clefts=0.05,
        spindles=0.6, lymphocytes=0.15,
    ),
    "Bladder": Appearance(
        "crowded sheet of urothelial cells with oval dark nuclei and pale gaps",
        "sheet", radius=11, elongation=1.55, orient="tangential", spacing=20, variety=0.18, irregular=0.14, dark=1.05, clumps=0.25,
        rim=0.1, nucleoli=0.1, pink=0.6, blue=0.14, borders=-0.75, clefts=0.4, lymphocytes=0.0,
    ),
    "Breast": Appearance(
        "solid nests and small ducts of round nuclei in fibrous stroma with fat",
        "nests", scale=44, radius=9.5, elongation=1.15, spacing=20, variety=0.16, dark=0.72, clumps=0.35, nucleoli=0.35,
        pink=0.58, fibres=0.75, weave=0.7, clefts=0.12, spindles=0.4, lymphocytes=0.12, fat=0.75,
    ),
    "Cervix": Appearance(
        "squamous cells with pale halos around wrinkled nuclei",
        "sheet", radius=8, elongation=1.2, spacing=33, variety=0.25, irregular=0.2, dark=1.0, clumps=0.2, rim=0.15,
        nucleoli=0.0, pink=0.42, clear=0.55, borders=0.5, clefts=0.0, lymphocytes=0.1,
    ),
    "Colon": Appearance(
        "crypts of tall cells with goblet mucin, elongated basal nuclei and a lymphocyte-rich stroma",
        "rings", scale=52, gap=1.12, wall=0.72, basal=0.84, stratified=0.05, lumen="mucin", radius=8, elongation=1.9, orient="radial",
        spacing=11.5, dark=0.85, clumps=0.35, nucleoli=0.2, pink=0.5, goblets=0.75, fibres=0.5, clefts=0.3, spindles=0.4,
        lymphocytes=0.8,
    ),
    "Esophagus": Appearance(
        "layered squamous epithelium, small crowded basal cells that flatten towards the surface",
        "sheet", layered=True, radius=7.5, elongation=1.15, orient="tangential", spacing=17, dark=0.8, clumps=0.3, nucleoli=0.2,
        pink=0.5, clear=0.35, borders=0.4, clefts=0.0, lymphocytes=0.0,
    ),
    "HeadNeck": Appearance(
        "squamous nests with large vesicular nuclei, nucleoli and keratin pearls",
        "nests", scale=75, radius=12.5, elongation=1.3, spacing=29, variety=0.25, irregular=0.16, dark=0.42, clumps=0.75, rim=0.55,
        nucleoli=0.85, pink=0.62, borders=-0.4, fibres=0.6, spindles=0.5, lymphocytes=0.45, keratin=0.9,
    ),
    "Kidney": Appearance(
        "packed tubules of pink granular cells with round basal nuclei",
        "rings", scale=31, gap=0.98, wall=0.76, basal=0.62, stratified=0.1, radius=7.5, elongation=1.08, spacing=23,
        variety=0.08, dark=0.8, clumps=0.35, nucleoli=0.25, pink=0.88, grain=0.5, borders=0.05, fibres=0.35, clefts=0.3, spindles=0.35,
        lymphocytes=0.0, blood=0.25,
    ),
    "Liver": Appearance(
        "plates of large pink polygonal cells with central round nuclei and nucleoli between sinusoids",
        "plates", scale=62, radius=9.5, elongation=1.05, spacing=35, variety=0.14, dark=0.58, clumps=0.4, rim=0.45, nucleoli=0.9,
        pink=0.82, blue=0.1, grain=0.55, vacuoles=0.12, borders=0.3, fibres=0.35, clefts=0.75, spindles=0.3, lymphocytes=0.05, blood=0.45,
    ),
    "Lung": Appearance(
        "wide air spaces with thin septa and scattered pigmented macrophages",
        "rings", scale=62, gap=0.98, wall=0.16, basal=0.95, stratified=0.04, radius=7.5, elongation=1.5, orient="tangential",
        spacing=22, dark=0.8, pink=0.5, fibres=0.7, clefts=0.0, spindles=0.5, lymphocytes=0.3, blood=0.6, pigment=0.5,
    ),
    "Ovarian": Appearance(
        "cellular spindle-cell stroma in swirling bundles",
        "bundles", radius=9, elongation=3.0, spacing=14, irregular=0.14, dark=0.85, clumps=0.35, rim=0.2, nucleoli=0.05,
        fibres=0.55, weave=0.35, clefts=0.35, spindles=0.9, lymphocytes=0.05,
    ),
    "Pancreatic": Appearance(
        "small solid acini with blue bases, pink granular centres and basal round nuclei",
        "rings", scale=25, gap=1.0, wall=1.0, basal=0.68, stratified=0.1, radius=7.5, elongation=1.1, spacing=17, variety=0.08,
        dark=0.75, clumps=0.4, nucleoli=0.55, pink=0.75, blue=0.42, grain=0.45, borders=0.05, fibres=0.4, clefts=0.45, spindles=0.3,
        lymphocytes=0.0,
    ),
    "Prostate": Appearance(
        "glands with open lumina of pale cells with round nuclei and nucleoli in smooth muscle",
        "rings", scale=46, gap=1.18, wall=0.5, basal=0.76, stratified=0.09, lumen="secretion", radius=8.5, elongation=1.1, spacing=15.5,
        variety=0.08, dark=0.52, clumps=0.55, rim=0.5, nucleoli=0.9, pink=0.3, clear=0.45, fibres=0.95, weave=0.45, clefts=0.08,
        spindles=0.45, lymphocytes=0.0,
    ),
    "Skin": Appearance(
        "nests of odd-sized cells with brown melanin between thick collagen bundles",
        "nests", scale=40, radius=9.5, elongation=1.4, spacing=21, variety=0.2, irregular=0.12, dark=0.7, clumps=0.4, rim=0.35,
        nucleoli=0.75, pink=0.5, borders=-0.35, fibres=1.0, weave=1.0, clefts=0.35, spindles=0.25, lymphocytes=0.2, pigment=1.0,
    ),
    "Stomach": Appearance(
        "glands lined by tall cells full of pale mucin with small basal nuclei",
        "rings", scale=40, gap=1.08, wall=0.84, basal=0.86, stratified=0.03, lumen="mucin", radius=6.5, elongation=1.15, spacing=13,
        dark=0.9, clumps=0.25, nucleoli=0.05, pink=0.2, blue=0.1, clear=0.7, borders=0.35, fibres=0.55, clefts=0.35, spindles=0.4,
        lymphocytes=0.55,
    ),
    "Testis": Appearance(
        "sheets of large clear cells with big round nuclei and nucleoli, septa full of lymphocytes",
        "plates", scale=80, radius=13, elongation=1.06, spacing=32, variety=0.1, dark=0.5, clumps=0.5, rim=0.5, nucleoli=1.0,
        pink=0.22, clear=0.7, borders=0.55, fibres=0.5, clefts=0.1, spindles=0.3, lymphocytes=1.6, blood=0.0,
    ),
    "Thyroid": Appearance(
        "follicles of one cuboidal layer filled with pink colloid",
        "rings", scale=52, gap=1.02, wall=0.28, basal=0.86, stratified=0.03, lumen="colloid", radius=7.5, elongation=1.08, spacing=15.5,
        variety=0.08, dark=0.85, clumps=0.3, nucleoli=0.1, pink=0.5, fibres=0.5, spindles=0.4, lymphocytes=0.05, blood=0.25,
    ),
    "Uterus": Appearance(
        "tubular glands of crowded pencil-shaped nuclei in a dense blue stroma",
        "rings", scale=44, gap=1.3, wall=0.68, basal=0.62, stratified=0.17, radius=8.5, elongation=2.1, orient="radial", spacing=10.5,
        dark=0.95, clumps=0.3, nucleoli=0.15, pink=0.42, blue=0.16, fibres=0.38, weave=0.25, clefts=0.12, spindles=2.0, lymphocytes=0.3,
    ),
}  # fmt: skip

# What stroma holds everywhere: nuclear columns only.
FIBROBLAST = Appearance(
    "", "bundles", radius=4.6, elongation=3.0, variety=0.3, irregular=0.14, dark=0.85, rim=0.15, nucleoli=0
)
LYMPHOCYTE = Appearance(
    "", "bundles", radius=5.6, elongation=1.08, variety=0.1, irregular=0.06, dark=1.15, clumps=0.3, rim=0.1, nucleoli=0
)
