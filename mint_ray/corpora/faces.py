"""What a drawn face can show: which facial finding moves which part of it, and by how much.

A face has the parameters of `PARAMETERS`, each with a neutral value and its ordinary variation between people.
A finding of the Human Phenotype Ontology moves some of them (`FINDINGS`), in units of that variation; a more
specific term moves what its nearest ancestors in the table move. What no entry covers is not drawn at all.
`mint_ray.corpora.portrait` makes the picture. These faces are synthetic: schematic drawings of nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from mint_ray import hpo

# Where findings that a portrait shows stand in the ontology: head (with the face), eye, outer ear, hair.
PORTRAIT_BRANCHES = ("HP:0000234", "HP:0000478", "HP:0000356", "HP:0001595")

# name: (neutral value, standard deviation between people). Lengths are shares of half the picture's side; what is
# neutral at 0 and deviates by 0.2 is a strength, drawn from about 1 as strong.
PARAMETERS: dict[str, tuple[float, float]] = {
    # head: half-widths at the height of temples, cheeks, jaw, chin; heights above and below its middle
    "crown": (0.80, 0.020),
    "temple": (0.525, 0.018),
    "cheek_width": (0.55, 0.016),
    "jaw_width": (0.43, 0.020),
    "chin_width": (0.175, 0.022),
    "chin_height": (0.30, 0.025),
    "face_stretch": (1.0, 0.030),
    "asymmetry": (0.0, 0.012),
    "skull_skew": (0.0, 0.018),
    "fullness": (0.0, 0.2),
    "midface": (0.0, 0.25),
    "fold": (0.15, 0.2),
    "red_patch": (0.0, 0.2),
    # forehead
    "forehead": (0.0, 0.25),
    "bossing": (0.0, 0.2),
    "brow_ridge": (0.0, 0.2),
    "glabella": (0.0, 0.2),
    "metopic": (0.0, 0.2),
    # hair
    "hairline": (0.52, 0.030),
    "widows_peak": (0.0, 0.2),
    "upsweep": (0.0, 0.2),
    "hair_density": (1.0, 0.12),
    "curl": (0.0, 0.2),
    "strands": (0.3, 0.2),
    "forelock": (0.0, 0.2),
    "grey": (0.0, 0.15),
    "red_hair": (0.0, 0.2),
    "face_hair": (0.0, 0.2),
    # brows
    "brow_height": (0.030, 0.0055),
    "brow_arch": (0.035, 0.012),
    "brow_length": (0.150, 0.012),
    "brow_density": (0.85, 0.11),
    "medial_brow": (1.0, 0.2),
    "lateral_brow": (1.0, 0.2),
    "brow_flare": (0.0, 0.2),
    "brow_white": (0.0, 0.2),
    "synophrys": (0.0, 0.2),
    # eyes: half the distance between their middles, half-length and half-opening of the fissure
    "eye_gap": (0.235, 0.015),
    "eye_length": (0.122, 0.010),
    "eye_open": (0.056, 0.007),
    "eye_point": (0.0, 0.2),
    "slant": (0.006, 0.013),
    "canthus": (0.0, 0.009),
    "epicanthus": (0.0, 0.2),
    "ptosis": (0.05, 0.12),
    "bulge": (0.0, 0.25),
    "lid_eversion": (0.0, 0.2),
    "lateral_eversion": (0.0, 0.2),
    "lid_notch": (0.0, 0.2),
    "puffiness": (0.1, 0.2),
    "eye_crease": (0.1, 0.2),
    "blue_sclera": (0.0, 0.2),
    "lash_length": (0.022, 0.008),
    "lash_density": (0.8, 0.16),
    # nose: length from the eyes to the tip, half-widths of bridge, tip and wings
    "nose_length": (0.300, 0.020),
    "bridge_width": (0.042, 0.008),
    "bridge_height": (0.5, 0.14),
    "nose_light": (0.5, 0.14),
    "ridge": (0.0, 0.2),
    "tip_width": (0.058, 0.008),
    "tip_light": (0.4, 0.14),
    "tip_drop": (0.0, 0.011),
    "tip_groove": (0.0, 0.2),
    "alae": (0.098, 0.011),
    "alar_weight": (0.4, 0.14),
    "nostril": (0.45, 0.16),
    "columella": (0.0, 0.009),
    # philtrum, mouth
    "philtrum_length": (0.110, 0.014),
    "philtrum_width": (0.026, 0.005),
    "philtrum_depth": (0.5, 0.14),
    "mouth_width": (0.200, 0.018),
    "mouth_open": (0.0, 0.014),
    "mouth_skew": (0.0, 0.010),
    "upper_lip": (0.036, 0.008),
    "lower_lip": (0.050, 0.010),
    "lip_eversion": (0.0, 0.2),
    "cupid_bow": (0.35, 0.18),
    "tent": (0.0, 0.2),
    "corners": (-0.004, 0.011),
    "cleft": (0.0, 0.2),
    "cleft_both": (0.0, 0.2),
    "cleft_middle": (0.0, 0.2),
    "tongue": (0.0, 0.2),
    "teeth": (0.0, 0.2),
    "teeth_gap": (0.0, 0.2),
    # chin
    "chin_shadow": (0.1, 0.2),
    "chin_dimple": (0.0, 0.2),
    "chin_crease": (0.1, 0.2),
    # ears: middle below the eyes' height, half-height, how far they stand out
    "ear_drop": (0.05, 0.030),
    "ear_height": (0.170, 0.018),
    "ear_width": (0.085, 0.014),
    "ear_turn": (0.06, 0.09),
    "ear_fold": (0.2, 0.2),
    "lobe": (0.045, 0.011),
    "lobe_lift": (0.0, 0.2),
    "ear_tag": (0.0, 0.2),
}

# term: (its name, what it moves in standard deviations of the parameter)
FINDINGS: dict[str, tuple[str, dict[str, float]]] = {
    # eyes
    "HP:0000316": ("Hypertelorism", {"eye_gap": +3.2}),
    "HP:0000601": ("Hypotelorism", {"eye_gap": -3.2}),
    "HP:0000506": ("Telecanthus", {"canthus": +3.5}),
    "HP:0000582": ("Upslanted palpebral fissure", {"slant": +3.2}),
    "HP:0000494": ("Downslanted palpebral fissures", {"slant": -3.2}),
    "HP:0000637": ("Long palpebral fissure", {"eye_length": +3}),
    "HP:0012745": ("Short palpebral fissure", {"eye_length": -3}),
    "HP:0045025": ("Narrow palpebral fissure", {"eye_open": -2.5}),
    "HP:0000581": ("Blepharophimosis", {"eye_length": -3, "eye_open": -2.5}),
    "HP:0007874": ("Almond-shaped palpebral fissure", {"eye_open": -1, "eye_point": +3}),
    "HP:0000286": ("Epicanthus", {"epicanthus": +4}),
    "HP:0000537": ("Epicanthus inversus", {"epicanthus": +4, "canthus": +1.5}),
    "HP:0000508": ("Ptosis", {"ptosis": +4}),
    "HP:0000520": ("Proptosis", {"bulge": +3, "eye_open": +2.5}),
    "HP:0000586": ("Shallow orbits", {"bulge": +3, "eye_open": +2}),
    "HP:0000490": ("Deeply set eye", {"bulge": -3.5}),
    "HP:0000656": ("Ectropion", {"lid_eversion": +4}),
    "HP:0007655": ("Eversion of lateral third of lower eyelids", {"lateral_eversion": +4}),
    "HP:0000625": ("Eyelid coloboma", {"lid_notch": +4}),
    "HP:0000629": ("Periorbital fullness", {"puffiness": +4}),
    "HP:0100540": ("Palpebral edema", {"puffiness": +4.5}),
    "HP:0100876": ("Infra-orbital crease", {"eye_crease": +4}),
    "HP:0011232": ("Infra-orbital fold", {"eye_crease": +3}),
    "HP:0030820": ("Hooded eyelid", {"ptosis": +2.5, "puffiness": +2}),
    "HP:0000592": ("Blue sclerae", {"blue_sclera": +4}),
    # lashes and brows
    "HP:0000527": ("Long eyelashes", {"lash_length": +4, "lash_density": +1.5}),
    "HP:0011231": ("Prominent eyelashes", {"lash_length": +3, "lash_density": +2}),
    "HP:0010764": ("Short eyelashes", {"lash_length": -2.5}),
    "HP:0000653": ("Sparse eyelashes", {"lash_density": -3}),
    "HP:0000561": ("Absent eyelashes", {"lash_density": -5}),
    "HP:0000664": ("Synophrys", {"synophrys": +4.5}),
    "HP:0000574": ("Thick eyebrow", {"brow_height": +3.5}),
    "HP:0011229": ("Broad eyebrow", {"brow_height": +3.5}),
    "HP:0045074": ("Thin eyebrow", {"brow_height": -2.2}),
    "HP:0045075": ("Sparse eyebrow", {"brow_density": -3}),
    "HP:0005338": ("Sparse lateral eyebrow", {"lateral_brow": -4}),
    "HP:0025325": ("Sparse medial eyebrow", {"medial_brow": -4}),
    "HP:0100840": ("Aplasia/Hypoplasia of the eyebrow", {"brow_density": -5.5}),
    "HP:0002223": ("Absent eyebrow", {"brow_density": -9}),
    "HP:0002553": ("Highly arched eyebrow", {"brow_arch": +4}),
    "HP:0011228": ("Horizontal eyebrow", {"brow_arch": -3.5}),
    "HP:0010747": ("Medial flaring of the eyebrow", {"brow_flare": +4}),
    "HP:0011230": ("Laterally extended eyebrow", {"brow_length": +3.5}),
    "HP:0004523": ("Long eyebrows", {"brow_length": +3}),
    "HP:0002226": ("White eyebrow", {"brow_white": +4}),
    # nose
    "HP:0000431": ("Wide nasal bridge", {"bridge_width": +4}),
    "HP:0000446": ("Narrow nasal bridge", {"bridge_width": -2.5}),
    "HP:0005280": ("Depressed nasal bridge", {"bridge_height": -3.5}),
    "HP:0000426": ("Prominent nasal bridge", {"bridge_height": +3.5}),
    "HP:0000457": ("Depressed nasal ridge", {"bridge_height": -3}),
    "HP:0012811": ("Wide nasal ridge", {"bridge_width": +3}),
    "HP:0000418": ("Narrow nasal ridge", {"bridge_width": -2.2}),
    "HP:0000444": ("Convex nasal ridge", {"ridge": +4}),
    "HP:0011120": ("Concave nasal ridge", {"ridge": -4}),
    "HP:0003196": ("Short nose", {"nose_length": -3.2}),
    "HP:0003189": ("Long nose", {"nose_length": +3.2}),
    "HP:0000448": ("Prominent nose", {"nose_length": +1.5, "bridge_height": +2, "tip_width": +1.5, "alae": +1}),
    "HP:0000445": ("Wide nose", {"alae": +3, "bridge_width": +2}),
    "HP:0000460": ("Narrow nose", {"alae": -2.5, "bridge_width": -1.5}),
    "HP:0012810": ("Wide nasal base", {"alae": +3.5}),
    "HP:0000414": ("Bulbous nose", {"tip_width": +4}),
    "HP:0000455": ("Broad nasal tip", {"tip_width": +3.2}),
    "HP:0005274": ("Prominent nasal tip", {"tip_width": +2, "tip_light": +3}),
    "HP:0000437": ("Depressed nasal tip", {"tip_drop": +3}),
    "HP:0011833": ("Overhanging nasal tip", {"tip_drop": +3.5}),
    "HP:0000456": ("Bifid nasal tip", {"tip_groove": +4}),
    "HP:0011803": ("Bifid nose", {"tip_groove": +5, "tip_width": +2}),
    "HP:0000463": ("Anteverted nares", {"nostril": +3.8}),
    "HP:0009931": ("Enlarged naris", {"nostril": +3, "alae": +1}),
    "HP:0000454": ("Flared nostrils", {"alae": +3, "nostril": +1.5}),
    "HP:0000430": ("Underdeveloped nasal alae", {"alae": -3.2}),
    "HP:0009928": ("Thick nasal alae", {"alae": +2, "alar_weight": +3}),
    "HP:0009765": ("Low hanging columella", {"columella": +4}),
    "HP:0010763": ("Low insertion of columella", {"columella": +3}),
    # philtrum and mouth
    "HP:0000343": ("Long philtrum", {"philtrum_length": +3.2}),
    "HP:0000322": ("Short philtrum", {"philtrum_length": -3.2}),
    "HP:0000319": ("Smooth philtrum", {"philtrum_depth": -3.5}),
    "HP:0005326": ("Hypoplastic philtrum", {"philtrum_depth": -3, "philtrum_length": -1}),
    "HP:0002002": ("Deep philtrum", {"philtrum_depth": +3.8}),
    "HP:0000289": ("Broad philtrum", {"philtrum_width": +4}),
    "HP:0000154": ("Wide mouth", {"mouth_width": +3.5}),
    "HP:0000160": ("Narrow mouth", {"mouth_width": -3.5}),
    "HP:0000219": ("Thin upper lip vermilion", {"upper_lip": -3}),
    "HP:0000215": ("Thick upper lip vermilion", {"upper_lip": +3.5}),
    "HP:0000179": ("Thick lower lip vermilion", {"lower_lip": +3.5}),
    "HP:0010282": ("Thin lower lip vermilion", {"lower_lip": -3}),
    "HP:0012471": ("Thick vermilion border", {"upper_lip": +3, "lower_lip": +3}),
    "HP:0000233": ("Thin vermilion border", {"upper_lip": -2.8, "lower_lip": -2.8}),
    "HP:0000232": ("Everted lower lip vermilion", {"lower_lip": +2, "lip_eversion": +4}),
    "HP:0010803": ("Everted upper lip vermilion", {"upper_lip": +2.5, "cupid_bow": -1.5}),
    "HP:0010804": ("Tented upper lip vermilion", {"tent": +4}),
    "HP:0000207": ("Triangular mouth", {"tent": +3.5, "mouth_open": +2.5}),
    "HP:0010806": ("U-Shaped upper lip vermilion", {"tent": -3}),
    "HP:0002263": ("Exaggerated cupid's bow", {"cupid_bow": +4}),
    "HP:0002714": ("Downturned corners of mouth", {"corners": +3.8}),
    "HP:0000204": ("Cleft upper lip", {"cleft": +5}),
    "HP:0100336": ("Bilateral cleft lip", {"cleft_both": +5}),
    "HP:0000161": ("Median cleft upper lip", {"cleft_middle": +5}),
    "HP:0000194": ("Open mouth", {"mouth_open": +4}),
    "HP:0000158": ("Macroglossia", {"mouth_open": +2.5, "tongue": +4}),
    "HP:0010808": ("Protruding tongue", {"mouth_open": +2.5, "tongue": +5}),
    "HP:0000687": ("Widely spaced teeth", {"mouth_open": +2.5, "teeth": +5, "teeth_gap": +4}),
    "HP:0010628": ("Facial palsy", {"mouth_skew": +4}),
    # jaw and chin
    "HP:0000347": ("Micrognathia", {"chin_height": -3, "chin_width": -1.5, "jaw_width": -1.5}),
    "HP:0000278": ("Retrognathia", {"chin_height": -1.5, "chin_shadow": +4}),
    "HP:0000303": ("Mandibular prognathia", {"chin_height": +3, "chin_width": +2.5}),
    "HP:0000307": ("Pointed chin", {"chin_width": -3.5}),
    "HP:0011822": ("Broad chin", {"chin_width": +3.5}),
    "HP:0000331": ("Short chin", {"chin_height": -3}),
    "HP:0400000": ("Tall chin", {"chin_height": +3}),
    "HP:0010751": ("Dimple chin", {"chin_dimple": +4}),
    "HP:0011823": ("Chin with horizontal crease", {"chin_crease": +4}),
    "HP:0012802": ("Broad jaw", {"jaw_width": +3.5}),
    # face and cheeks
    "HP:0000311": ("Round face", {"cheek_width": +2, "jaw_width": +2.5, "chin_height": -2, "fullness": +1.5}),
    "HP:0000300": ("Oval face", {"jaw_width": -1.2, "chin_width": +1}),
    "HP:0000321": ("Square face", {"jaw_width": +3.5, "temple": +1.5, "chin_width": +2.5}),
    "HP:0000325": ("Triangular face", {"temple": +2, "jaw_width": -3.2, "chin_width": -2.5}),
    "HP:0000276": ("Long face", {"face_stretch": +3.2}),
    "HP:0000283": ("Broad face", {"cheek_width": +3, "temple": +1.5, "jaw_width": +1.5}),
    "HP:0000275": ("Narrow face", {"cheek_width": -3, "temple": -2, "jaw_width": -2}),
    "HP:0000280": (
        "Coarse facial features",
        {"fold": +3, "alae": +2, "lower_lip": +1.8, "upper_lip": +1.5, "brow_height": +1.5},
    ),
    "HP:0012368": ("Flat face", {"midface": -3, "bridge_height": -2, "nose_light": -2}),
    "HP:0011800": ("Midface retrusion", {"midface": -3.5}),
    "HP:0000272": ("Malar flattening", {"midface": -2.8}),
    "HP:0000327": ("Hypoplasia of the maxilla", {"midface": -3}),
    "HP:0010620": ("Malar prominence", {"midface": +3}),
    "HP:0000293": ("Full cheeks", {"fullness": +4}),
    "HP:0009938": ("Sunken cheeks", {"fullness": -4}),
    "HP:0000324": ("Facial asymmetry", {"asymmetry": +3}),
    "HP:0011332": ("Hemifacial hypoplasia", {"asymmetry": +4}),
    "HP:0005272": ("Prominent nasolabial fold", {"fold": +4}),
    "HP:0000329": ("Facial hemangioma", {"red_patch": +5}),
    # forehead and head
    "HP:0000337": ("Broad forehead", {"temple": +3.5}),
    "HP:0000341": ("Narrow forehead", {"temple": -3.5}),
    "HP:0000348": ("High forehead", {"hairline": +3, "crown": +1.5}),
    "HP:0002003": ("Large forehead", {"hairline": +2.5, "temple": +2.5}),
    "HP:0000350": ("Small forehead", {"hairline": -2, "temple": -2}),
    "HP:0011220": ("Prominent forehead", {"forehead": +3.5}),
    "HP:0002007": ("Frontal bossing", {"bossing": +4}),
    "HP:0000340": ("Sloping forehead", {"forehead": -3.5}),
    "HP:0004425": ("Flat forehead", {"forehead": -2.5}),
    "HP:0000336": ("Prominent supraorbital ridges", {"brow_ridge": +4}),
    "HP:0009891": ("Underdeveloped supraorbital ridges", {"brow_ridge": -3}),
    "HP:0002057": ("Prominent glabella", {"glabella": +4}),
    "HP:0005487": ("Prominent metopic ridge", {"metopic": +4}),
    "HP:0000243": ("Trigonocephaly", {"metopic": +3, "temple": -2.5}),
    "HP:0000248": ("Brachycephaly", {"temple": +2, "cheek_width": +1.5, "crown": -1.5}),
    "HP:0000268": ("Dolichocephaly", {"temple": -2.5, "cheek_width": -1.5, "crown": +2}),
    "HP:0000262": ("Turricephaly", {"crown": +3.5}),
    "HP:0001357": ("Plagiocephaly", {"skull_skew": +4}),
    # ears
    "HP:0000369": ("Low-set ears", {"ear_drop": +3.5}),
    "HP:0000400": ("Macrotia", {"ear_height": +3.2, "ear_width": +2}),
    "HP:0400004": ("Long ear", {"ear_height": +3.2}),
    "HP:0400005": ("Short ear", {"ear_height": -2.5}),
    "HP:0008551": ("Microtia", {"ear_height": -3.5, "ear_width": -2}),
    "HP:0009892": ("Anotia", {"ear_height": -7}),
    "HP:0000411": ("Protruding ear", {"ear_width": +4}),
    "HP:0000378": ("Cupped ear", {"ear_width": +3, "ear_fold": +2}),
    "HP:0000396": ("Overfolded helix", {"ear_fold": +4}),
    "HP:0000358": ("Posteriorly rotated ears", {"ear_turn": +3.5}),
    "HP:0009748": ("Large earlobe", {"lobe": +3.5}),
    "HP:0002265": ("Large fleshy ears", {"ear_height": +2.5, "ear_width": +2, "lobe": +3}),
    "HP:0000385": ("Small earlobe", {"lobe": -2.5}),
    "HP:0000387": ("Absent earlobe", {"lobe": -3.5}),
    "HP:0009909": ("Uplifted earlobe", {"lobe_lift": +4}),
    "HP:0000384": ("Preauricular skin tag", {"ear_tag": +5}),
    # hair
    "HP:0000294": ("Low anterior hairline", {"hairline": -3.5}),
    "HP:0009890": ("High anterior hairline", {"hairline": +3.5}),
    "HP:0000349": ("Widow's peak", {"widows_peak": +4}),
    "HP:0002236": ("Frontal upsweep of hair", {"upsweep": +4}),
    "HP:0002292": ("Frontal balding", {"hairline": +5}),
    "HP:0008070": ("Sparse hair", {"hair_density": -4}),
    "HP:0002209": ("Sparse scalp hair", {"hair_density": -4}),
    "HP:0002213": ("Fine hair", {"hair_density": -2}),
    "HP:0002293": ("Alopecia of scalp", {"hair_density": -7}),
    "HP:0007418": ("Alopecia totalis", {"hair_density": -9}),
    "HP:0002289": ("Alopecia universalis", {"hair_density": -9, "brow_density": -9, "lash_density": -5}),
    "HP:0002212": ("Curly hair", {"curl": +4}),
    "HP:0002224": ("Woolly hair", {"curl": +5.5}),
    "HP:0002208": ("Coarse hair", {"strands": +4}),
    "HP:0030056": ("Uncombable hair", {"strands": +5}),
    "HP:0002211": ("White forelock", {"forelock": +5}),
    "HP:0002216": ("Premature graying of hair", {"grey": +4}),
    "HP:0011364": ("White hair", {"grey": +6}),
    "HP:0002297": ("Red hair", {"red_hair": +5}),
    "HP:0002219": ("Facial hypertrichosis", {"face_hair": +4}),
    "HP:0011335": ("Frontal hirsutism", {"face_hair": +3, "hairline": -2}),
}

# Descendants of drawn terms that a portrait does not show, and that therefore inherit nothing.
NOT_SEEN = {
    "HP:0002215": "Sparse axillary hair",
    "HP:0002225": "Sparse pubic hair",
    "HP:0002231": "Sparse body hair",
    "HP:0007464": "Sparse facial hair",
    "HP:0004771": "Premature graying of body hair",
    "HP:0003778": "Short mandibular rami",
    "HP:0005790": "Short mandibular condyles",
    "HP:0007627": "Mandibular condyle aplasia",
    "HP:0007628": "Mandibular condyle hypoplasia",
    "HP:0000661": "Palpebral fissure narrowing on adduction",
    "HP:0004661": "Frontalis muscle weakness",
    "HP:0011333": "Asymmetric crying face",
    "HP:0009101": "Submucous cleft lip",
    "HP:0030284": "Triangular tongue",
    "HP:0011327": "Posterior plagiocephaly",
}

# A finding shows more in one patient than in another: its amount is multiplied by a number from this range.
EXPRESSION = (0.75, 1.25)


@lru_cache(maxsize=None)
def effect(term_id: str) -> MappingProxyType[str, float]:
    """What a term moves, in standard deviations: its entry, else that of its nearest ancestors; empty: not drawn."""
    living = hpo.ontology()
    level = [term_id]
    while level:
        level = [i for i in level if i not in NOT_SEEN]
        if entries := [FINDINGS[i][1] for i in level if i in FINDINGS]:
            return MappingProxyType(_stronger(entries))
        level = [parent for i in level for parent in living.terms[i].parents]
    return MappingProxyType({})


def drawable(term_id: str) -> bool:
    """Whether a portrait shows the finding."""
    return bool(effect(term_id))


def _stronger(entries: Iterable[dict[str, float]]) -> dict[str, float]:
    """Findings together: two that push a parameter the same way do not add up, two opposed ones do."""
    up: dict[str, float] = {}
    down: dict[str, float] = {}
    for entry in entries:
        for name, amount in entry.items():
            up[name] = max(up.get(name, 0.0), amount)
            down[name] = min(down.get(name, 0.0), amount)
    return {name: up[name] + down[name] for name in up}


def face(term_ids: Iterable[str], rng: np.random.Generator) -> dict[str, float]:
    """The parameters of one person's face: neutral, plus ordinary variation, plus the findings.

    The variation is drawn before the findings' expression, so that the same generator gives the same person
    with and without a finding.
    """
    person = dict(zip(PARAMETERS, np.clip(rng.standard_normal(len(PARAMETERS)), -2, 2), strict=True))
    entries = []
    for term_id in sorted(term_ids):
        expression = rng.uniform(*EXPRESSION)
        entries.append({name: amount * expression for name, amount in effect(term_id).items()})
    moved = _stronger(entries)
    return {name: neutral + sd * (person[name] + moved.get(name, 0.0)) for name, (neutral, sd) in PARAMETERS.items()}


def neutral_face(term_ids: Iterable[str] = ()) -> dict[str, float]:
    """The face of nobody in particular with findings of mean expression: what the table's entries look like."""
    moved = _stronger(effect(term_id) for term_id in term_ids)
    return {name: neutral + sd * moved.get(name, 0.0) for name, (neutral, sd) in PARAMETERS.items()}
