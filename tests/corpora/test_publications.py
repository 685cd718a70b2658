import random

import pytest

from mint_ray.corpora.publications import Grouped, groups_of, paper_ids, papers

PUBMED = [
    *("PMID:123", "PMID: 123", "PMID123", "pmid 123", "PMID_123", "PMID#123", "PMID=123", "PMID:0123", " PMID:123 "),
    *("PUBMED:123", "PubMed: 123", "pubmed/123", "PubMed ID: 123", "PUBMED_ID:123", "(PMID: 123)"),
    *("https://www.ncbi.nlm.nih.gov/pubmed/123", "http://ncbi.nlm.nih.gov/pubmed/123?dopt=Abstract"),
    *(
        "https://pubmed.ncbi.nlm.nih.gov/123",
        "https://pubmed.ncbi.nlm.nih.gov/123/",
        "pubmed.ncbi.nlm.nih.gov/123/#abstract",
    ),
    *("https://www.ncbi.nlm.nih.gov/pubmed/?term=123", "https://pubmed.ncbi.nlm.nih.gov/?term=123"),
    *(
        "https://identifiers.org/pubmed:123",
        "http://identifiers.org/pubmed/123",
        "https://europepmc.org/article/MED/123",
    ),
    *("PMID：123", "PMID–123", "PMID.123", "PubMed-ID 123", "MEDLINE:123", "PMIDs: 123", "PMID\u00a0123", "PMID:PMID:123"),
    *(
        "https://www.ncbi.nlm.nih.gov/entrez/query.fcgi?cmd=Retrieve&db=PubMed&list_uids=123",
        "https://www.ncbi.nlm.nih.gov/sites/entrez?list_uids=123&db=pubmed",
        "https://www.ncbi.nlm.nih.gov/sites/entrez?db=pubmed&cmd=search&term=123",
        "https://www.ncbi.nlm.nih.gov/m/pubmed/123/",
    ),
]  # fmt: skip
CENTRAL = [
    *("PMC123", "PMC:123", "PMCID:PMC123", "PMCID: 123", "pmc123", "https://europepmc.org/article/PMC/PMC123"),
    *("https://www.ncbi.nlm.nih.gov/pmc/articles/PMC123/", "https://pmc.ncbi.nlm.nih.gov/articles/PMC123"),
]
DOI = [
    *("DOI:10.1000/xyz", "doi:10.1000/XYZ", "DOI: 10.1000/xyz", "10.1000/xyz", "https://doi.org/10.1000/xyz"),
    *("http://dx.doi.org/10.1000/xyz", "https://doi.org/10.1000%2FXYZ", "doi.org/10.1000/xyz.", "DOI:10.1000/xyz;"),
    *("https://onlinelibrary.wiley.com/doi/full/10.1000/xyz", "https://a.org/doi/10.1000/xyz/abstract?src=x#top"),
    *("https://link.springer.com/content/pdf/10.1000/xyz.pdf", "https://a.org/doi/epdf/10.1000/xyz", "<https://doi.org/10.1000/xyz>"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "paper_id"),
    [
        *((text, "PMID:123") for text in PUBMED),
        *((text, "PMC:123") for text in CENTRAL),
        *((text, "DOI:10.1000/xyz") for text in DOI),
    ],
)
def test_an_id_of_a_paper_is_found_in_each_of_its_spellings(text, paper_id):
    assert paper_ids(text) == [paper_id]


@pytest.mark.parametrize(
    ("texts", "paper_id"),
    [
        (
            ("10.1101/2020.01.01.123v2", "https://www.medrxiv.org/content/10.1101/2020.01.01.123v1.full.pdf"),
            "DOI:10.1101/2020.01.01.123",
        ),
        (("10.21203/rs.3.rs-5/v1", "https://doi.org/10.21203/rs.3.rs-5/v2"), "DOI:10.21203/rs.3.rs-5"),
        (("10.1000/xyz.v2",), "DOI:10.1000/xyz.v2"),  # no preprint
        (
            ("10.1002/(SICI)1096-8628(19990101)82:1<1::AID-AJMG1>3.0.CO;2-8",),
            "DOI:10.1002/(sici)1096-8628(19990101)82:1<1::aid-ajmg1>3.0.co;2-8",
        ),
    ],
)
def test_a_preprint_is_one_paper_in_all_its_versions_and_an_old_doi_is_read_to_its_end(texts, paper_id):
    assert {tuple(paper_ids(text)) for text in texts} == {(paper_id,)}


@pytest.mark.parametrize(
    "text",
    [
        *("", "DOI:1", "DOI:10.1/x", "OMIM:147920", "HGNC:7133", "HP:0001250", "CONSORTIUM:0000123456", "MEDGEN:123"),
        *("https://omim.org/entry/147920", "https://www.ncbi.nlm.nih.gov/gene/123", "ClinVar:123", "PMID:", "PMID:0"),
        *("NCT01234567", "ISBN 10.123", "Nat Med 2019", "https://hpo.jax.org", "rs123", "UMED:5", "PMID:1234567890"),
        *(
            "https://www.ncbi.nlm.nih.gov/entrez/query.fcgi?db=gene&list_uids=123",
            "https://a.org/?term=12&db=pubmedbooks",
        ),
    ],
)
def test_what_is_no_id_of_a_paper_is_none(text):
    assert paper_ids(text) == []


def test_of_a_long_text_the_beginning_is_read_and_no_id_is_cut_to_another():
    assert paper_ids("PMID:7 " + "a " * 10_000 + "PMID:8") == ["PMID:7"]
    assert paper_ids("PMID:7 " + "a" * 1985 + " PMID:123") == ["PMID:7"]  # cut there, the end would be PMID:12


def test_ids_of_one_reference_are_ids_of_one_paper():
    assert papers([["DOI:10.1000/a", "PMID:7"]], "x") == [["PMID:7", "DOI:10.1000/a"]]
    assert papers([["PMID:7", "https://pubmed.ncbi.nlm.nih.gov/7"]], "x") == [["PMID:7"]]


def test_two_references_that_name_one_id_of_a_kind_each_are_one_paper():
    assert papers([["DOI:10.1000/a"], ["OMIM:1"], ["PMID:7"]], "x") == [["PMID:7", "DOI:10.1000/a"]]
    assert papers([["DOI:10.1000/a"]], "PMID_7_x") == [["PMID:7", "DOI:10.1000/a"]]


def test_further_papers_stand_behind_the_first():
    several = [["PMID:7", "DOI:10.1000/a"], ["PMID:8"], ["DOI:10.1000/b"]]
    assert papers(several, "x") == [["PMID:7", "DOI:10.1000/a"], ["PMID:8"], ["DOI:10.1000/b"]]
    assert papers([["PMID:7 PMID:8"]], "x") == [["PMID:7"], ["PMID:8"]]


@pytest.mark.parametrize("case_id", ["PMID_7_individual_2", "PMID:7-Author-2020", "PUBMED:7", "pmid7"])
def test_an_id_of_a_case_may_begin_with_its_paper(case_id):
    assert papers([], case_id) == [["PMID:7"]]


@pytest.mark.parametrize("case_id", ["7", "patient of PMID:7", "PMC7-1", "10.1000/a", "PMID_x"])
def test_another_id_of_a_case_tells_no_paper(case_id):
    assert papers([], case_id) == []


def groups(*named: list[list[str]]) -> list[str]:
    """The groups of cases by the papers that they name; a case without any is its own."""
    cases = {i: Grouped(p[0][0] if p else f"case {i}", p) for i, p in enumerate(named)}
    return list(groups_of(cases).values())


def test_patients_of_one_paper_are_one_group_by_whichever_id_each_names_it():
    both, pubmed, doi, other = [["PMID:7", "DOI:10.1000/a"]], [["PMID:7"]], [["DOI:10.1000/a"]], [["PMID:8"]]
    assert groups(both, pubmed, doi, other) == ["PMID:7", "PMID:7", "PMID:7", "PMID:8"]
    assert groups(doi, pubmed) == ["DOI:10.1000/a", "PMID:7"]  # nobody says that they are one
    central = [["PMC:5", "DOI:10.1000/a"]]
    assert groups(central, doi, both) == ["PMID:7"] * 3


def test_a_paper_that_is_nobodys_own_joins_nothing():
    ontology = ["PMID:99"]
    assert groups([["PMID:1"], ontology], [["PMID:2"], ontology], [["PMID:3"], ontology]) == [
        "PMID:1",
        "PMID:2",
        "PMID:3",
    ]


def test_a_patient_of_two_papers_is_of_the_group_of_both():
    assert groups([["PMID:9"], ["PMID:2"]], [["PMID:2", "DOI:10.1000/b"]], [["DOI:10.1000/b"]], [["PMID:3"]]) == [
        *["PMID:2"] * 3,
        "PMID:3",
    ]


def test_cases_without_a_paper_keep_their_groups_and_a_group_of_the_source_stays_whole():
    assert groups([], [], [["PMID:7"]]) == ["case 0", "case 1", "PMID:7"]
    cases = {0: Grouped("ward 1", [["PMID:7"]]), 1: Grouped("ward 1", []), 2: Grouped("ward 2", [["PMID:7"]])}
    assert set(groups_of(cases).values()) == {"ward 1"}


def test_groups_do_not_hang_on_the_order_of_the_cases():
    rng = random.Random(1)
    ids = [f"PMID:{i}" for i in range(1, 40)] + [f"DOI:10.1000/{i}" for i in range(40)]
    cases = {}
    for i in range(60):
        named = [rng.sample(ids, rng.choice([1, 2])) for _ in range(rng.choice([1, 1, 2]))]
        cases[i] = Grouped(named[0][0], named)
    found = groups_of(cases)
    assert 5 < len(set(found.values())) < 40
    for _ in range(5):
        shuffled = dict(rng.sample(list(cases.items()), len(cases)))
        assert groups_of(shuffled) == found


def test_long_chains_of_papers_are_one_group():
    chain = {i: Grouped(f"PMID:{i + 1}", [[f"PMID:{i + 1}", f"PMID:{i + 2}"]]) for i in range(20_000)}
    assert set(groups_of(chain).values()) == {"PMID:1"}
