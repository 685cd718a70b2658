"""Synthetic corpora, and a small model with eyes that was trained on them: the first package of parts from outside.

    patients ─► faces        patients of rare diseases, with drawn faces
    patches  ─► nuclei       H&E-like patches of tissue, drawn
    eyes                     a vision-language model from patches and their captions

It is found as any other package's parts are, by the entry points in pyproject.toml; nothing else of mint_ray imports it.
"""
