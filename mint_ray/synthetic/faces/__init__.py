"""Drawn faces that show facial findings: the synthetic photographs of simulated patients, drawings of nobody.

`findings` is the table that says which finding moves what; `person` makes one person's parameters of it; the
other modules draw them with Pillow, part by part.
"""

from mint_ray.synthetic.faces.person import Look, drawable, effect, face, look, neutral_face
from mint_ray.synthetic.faces.portrait import encode_png, portrait

__all__ = ["Look", "drawable", "effect", "encode_png", "face", "look", "neutral_face", "portrait"]
