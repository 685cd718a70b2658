"""What single sentences say: how findings are named, of whom and whether they are said, numbers, sex and age."""

import pytest

from mint_ray.notes.plain import plain
from mint_ray.notes.reading import read_note


def said(text: str) -> dict[str, str]:
    """By the name of a term, what a text says of it (of several places the last)."""
    return {m.name: m.status for m in read_note(text).mentions}


def observed(text: str) -> list[str]:
    return sorted(f.name for f in read_note(text).findings if not f.excluded)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Seizures and a high-arched palate.", ["High palate", "Seizure"]),
        ("marked hearing loss, sensorineural", ["Sensorineural hearing impairment"]),
        ("low-set, posteriorly rotated ears", ["Low-set ears", "Posteriorly rotated ears"]),
        ("The ears are large and protruding.", ["Macrotia", "Protruding ear"]),
        ("contractures of the elbows, knees and hips", ["Elbow contracture", "Hip contracture", "Knee contracture"]),
        ("motor and speech delay", ["Delayed speech and language development", "Motor delay"]),
        ("cleft lip and palate", ["Cleft lip", "Cleft palate"]),
        ("microcephlay with hypertelorisim", ["Hypertelorism", "Microcephaly"]),
        ("Anaemia, oesophageal atresia and hypercholesterolaemia", ["Anemia", "Esophageal atresia", "Hypercholesterolemia"]),
        ("increased serum\ncreatine kinase level", ["Elevated circulating creatine kinase concentration"]),
        ("elevated ALT and AST", ["Elevated circulating alanine aminotransferase concentration", "Elevated circulating aspartate aminotransferase concentration"]),
        ("He is non-verbal and has never walked.", ["Absent speech", "Inability to walk"]),
        ("VSD, PDA and IUGR", ["Intrauterine growth retardation", "Patent ductus arteriosus", "Ventricular septal defect"]),
        ("an epileptic boy with generalized tonic-clonic seizures", ["Bilateral tonic-clonic seizure"]),
        ("A vsd of no note. The pda was late; an id card.", []),
        ("Autosomal dominant inheritance, juvenile onset, frequent.", []),
    ],
)  # fmt: skip
def test_a_finding_is_found_however_it_is_named_and_the_most_specific_term_is_kept(text, names):
    assert observed(text) == names


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        ("No history of seizures.", {"Seizure": "excluded"}),
        ("She denies headache and has ptosis.", {"Headache": "excluded", "Ptosis": "observed"}),
        ("Hypotonia without seizures, ataxia or tremor, but with ptosis.", {"Hypotonia": "observed", "Seizure": "excluded", "Ataxia": "excluded", "Tremor": "excluded", "Ptosis": "observed"}),
        ("He had hypotonia, and seizures were absent.", {"Hypotonia": "observed", "Seizure": "excluded"}),
        ("Scoliosis, kyphosis and ptosis were not observed.", {"Scoliosis": "excluded", "Kyphosis": "excluded", "Ptosis": "excluded"}),
        ("The following were excluded: Seizure, Ataxia; Tremor. He had ptosis.", {"Seizure": "excluded", "Ataxia": "excluded", "Tremor": "excluded", "Ptosis": "observed"}),
        ("Absent findings:\n- seizures\n- ataxia\nHe has ptosis.", {"Seizure": "excluded", "Ataxia": "excluded", "Ptosis": "observed"}),
        ("Seizures: no\nHypotonia: yes\nAtaxia (-)", {"Seizure": "excluded", "Hypotonia": "observed", "Ataxia": "excluded"}),
        ("Seizures were not controlled by valproate.", {"Seizure": "observed"}),
        ("There were no further seizures. Hypotonia resolved.", {"Seizure": "observed", "Hypotonia": "observed"}),
        ("Hearing was normal and the palate is intact.", {"Hearing impairment": "excluded", "Cleft palate": "excluded"}),
        ("Ptosis rather than proptosis was seen.", {"Ptosis": "observed", "Proptosis": "excluded"}),
        ("No dysmorphism except for low-set ears.", {"Abnormal facial shape": "excluded", "Low-set ears": "observed"}),
        ("VSD and PDA were ruled out, whereas an ASD was found.", {"Ventricular septal defect": "excluded", "Patent ductus arteriosus": "excluded", "Atrial septal defect": "observed"}),
        ("He has ASD and ADHD.", {"Autistic behavior": "observed", "Attention deficit hyperactivity disorder": "observed"}),
        ("MRI to rule out cerebellar atrophy. Possible nystagmus.", {"Cerebellar atrophy": "uncertain", "Nystagmus": "uncertain"}),
        ("Optic atrophy could not be excluded.", {"Optic atrophy": "uncertain"}),
        ("His mother has short stature and myopia; he has ptosis.", {"Short stature": "family", "Myopia": "family", "Ptosis": "observed"}),
        ("Family history:\nFather with epilepsy, sister with ptosis.\n\nExamination: scoliosis.", {"Seizure": "family", "Ptosis": "family", "Scoliosis": "observed"}),
        ("There is a family history of epilepsy.", {"Seizure": "family"}),
        ("His mother reported that he had seizures.", {"Seizure": "observed"}),
        ("A boy. His mother has myopia. She also has ptosis.", {"Myopia": "family", "Ptosis": "family"}),
        ("Cataract was seen in the mother.", {"Cataract": "family"}),
        ("While hearing loss is common in this condition, audiometry was normal.", {"Hearing impairment": "excluded"}),
        ("He lacks the typical face: no synophrys.", {"Synophrys": "excluded"}),
    ],
)  # fmt: skip
def test_negation_relatives_and_doubt_are_told_apart(text, statuses):
    assert said(text) == statuses


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        ("Height 98 cm (-3.2 SD), OFC < 3rd centile.", {"Short stature": "observed", "Microcephaly": "observed"}),
        ("Her height is 3 SD above the mean; OFC at the 50th percentile.", {"Tall stature": "observed", "Microcephaly": "excluded"}),
        ("IQ of 45. BMI 32 kg/m2.", {"Intellectual disability, moderate": "observed", "Obesity": "observed"}),
        ("He sat at 14 months and walked at 26 months.", {"Delayed ability to sit": "observed", "Delayed ability to walk": "observed"}),
        ("He walked at 12 months.", {}),
        ("She was unable to walk until 30 months. Ht -2.7 SD.", {"Delayed ability to walk": "observed", "Short stature": "observed"}),
        ("Birth weight 3.2 kg (45th centile).", {}),
    ],
)  # fmt: skip
def test_numbers_are_findings_where_they_pass_the_ontology_s_limits(text, statuses):
    assert said(text) == statuses


@pytest.mark.parametrize(
    ("text", "sex", "age"),
    [
        ("A 4-year-old girl", "female", 4),
        ("18 mo M with fever", "male", 1.5),
        ("This boy, now 3 years and 6 months old, has a brother who is 10 years old.", "male", 3.5),
        ("Sex: F. Age: P2Y6M.", "female", 2.5),
        ("His sister, a 9-year-old girl, is well. He has ptosis.", "male", None),
        ("Hypotonia.", None, None),
        ("A 45 yo woman; surgery at 11 mo.", "female", 45),
        ("Surgery at 11 mo. He is well.", "male", None),
    ],
)
def test_sex_and_age_are_the_patient_s_where_they_are_stated(text, sex, age):
    reading = read_note(text)
    assert (reading.sex, reading.age_years) == (sex, age)


def test_a_span_is_the_place_in_the_note():
    text = "She has  low-set,\nposteriorly rotated ears and no scoliosis."
    assert {m.name: text[m.start : m.end] for m in read_note(text).mentions} == {
        "Low-set ears": "low-set",
        "Posteriorly rotated ears": "posteriorly rotated ears",
        "Scoliosis": "scoliosis",
    }


def test_a_note_of_any_length_or_kind_is_read():
    assert read_note("").mentions == read_note("abc").mentions == []
    many = [m.name for m in read_note("Seizures, ptosis. " * 12_000).mentions]
    assert len(many) == 24_000 and set(many) == {"Seizure", "Ptosis"}
    read_note("\x00\ufffd)(*&^%$#@![]{}||||:::---\n\n\n- \n-\n: no\n" * 500)
    assert len(read_note(" ".join(f"{n}. Seizures;" for n in range(400))).findings) == 1


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<html><head><title>x</title></head><body><p>Short&nbsp;stature</p><ul><li>ptosis</li></ul></body></html>", "Short stature\n\n\nptosis"),
        (r"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 Short stature\par caf\'e9-au-lait spots}", "Short stature\ncafé-au-lait spots"),
        ("cafÃ©-au-lait spots \u2013 no ptosis", "café-au-lait spots \u2013 no ptosis"),
        ("BP < 90, height > 3 cm & well", "BP < 90, height > 3 cm & well"),
        ("a\x00b\r\nc\u200bd", "ab\ncd"),
    ],
)  # fmt: skip
def test_a_note_comes_out_of_html_rtf_and_debris_as_text(source, text):
    assert plain(source).replace("\n\n\n", "\n").replace("\n\n", "\n") == text.replace("\n\n\n", "\n")
