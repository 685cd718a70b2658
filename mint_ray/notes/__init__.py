"""From a note to findings: terms of the Human Phenotype Ontology with their places, told apart by what is said of them.

`plain` (text of HTML, RTF, debris) -> `words` -> `lexicon` and `spotting` (where is a term named) -> `measures` (what a
number says) -> `context` (of whom, and whether at all) -> `reading` (findings, sex and age). The page is docs/notes.md.
"""
