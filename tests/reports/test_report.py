import json
import re
import warnings
from html.parser import HTMLParser

import pytest

from mint_ray.reports.evaluate import evaluate
from mint_ray.tasks.base import Label, save_labels
from tests.tiny_run import answered_run, tiny_case, truth_first, write_answers, write_cases, write_rankings


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    """The page of a run on synthetic patients."""
    return page(answered_run(tmp_path_factory.mktemp("run")))


def page(run) -> str:
    evaluate(run)
    return (run.stage("evaluation").path / "report.html").read_text()


class Collected(HTMLParser):
    """Tags with their attributes, and whether every element that was opened was closed in order."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.drawn: list[str] = []  # the texts in plots
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["text"]:
            self.drawn.append(data.strip())


def test_the_page_needs_nothing_from_outside(text):
    parsed = Collected(text)
    assert parsed.open == []
    assert not re.findall(r"https?:|//[\w-]+\.|@import|url\((?!#)", text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    sources = [attributes["src"] for tag, attributes in parsed.tags if tag == "img"]
    assert sources and all(source.startswith("data:image/") for source in sources)


def test_ids_of_the_plots_do_not_meet(text):
    ids = [attributes["id"] for _, attributes in Collected(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0


def test_plots_take_their_colours_from_the_page(text):
    assert "#0b0b0" not in text
    assert "var(--aligned)" in text[text.index("<svg") :]


def test_the_page_tells_what_was_run_and_what_came_out(text):
    for told in ("Synthetic data", "12 test cases in 12 groups", "no-diagnosis", "1111111111111111", "MRR", "seed: 3"):
        assert told in text
    assert "among its 3 names it stands in 100.0 % of the cases, and in 0.0 % for the base model" in text


def test_a_synthetic_case_is_shown_with_findings_and_image(text):
    assert "Findings: Hypotonia" in text
    assert "data:image/jpeg;base64," in text


def test_of_a_real_patient_neither_findings_nor_image_are_shown(tmp_path):
    text = page(answered_run(tmp_path, synthetic=False))
    assert "Findings" not in text and "data:image/jpeg" not in text
    assert "Synthetic" not in text
    assert "case-000" in text or "case-001" in text


WORDS = "the patient of Elm Street 7"


def page_with_words(folder, synthetic: bool, **settings) -> str:
    """The page of a run whose base model repeats the note, in a name and beside it, and once names a label otherwise."""
    run = answered_run(folder, synthetic=synthetic, evaluation=settings)
    cases = [tiny_case(i) for i in range(12)]
    answer = f"{WORDS}\n{run.config.task.answer([WORDS, 'brachmann de LANGE syndrome'])}"
    write_answers(run, "base", {c.case_id: answer for c in cases}, cases)
    return page(run)


def test_of_a_real_patient_the_page_shows_labels_and_no_word_of_a_model(tmp_path):
    text = page_with_words(tmp_path, synthetic=False)
    assert WORDS not in text and "brachmann de LANGE" not in text
    assert '<li class="none">a name</li><li class="label">Cornelia de Lange syndrome 1</li>' in text
    assert "the labels that were named are shown, not the words of the answers." in text


@pytest.mark.parametrize(("synthetic", "settings"), [(True, {}), (False, {"show_words": True})])
def test_words_are_shown_of_invented_patients_and_where_the_settings_say_so(tmp_path, synthetic, settings):
    text = page_with_words(tmp_path, synthetic, **settings)
    assert f'<li class="none">{WORDS}</li><li class="label">brachmann de LANGE syndrome</li>' in text
    assert "not the words" not in text


def test_a_node_that_a_stage_lost_stands_beside_it_and_no_line_where_none_was(text, tmp_path):
    assert "which was lost" not in text
    run = answered_run(tmp_path)
    path = run.stage("alignment").path / "manifest.json"
    lost = {"lost_nodes": [{"node": "b2", "address": "10.0.0.4", "why": "health check failed"}]}
    path.write_text(json.dumps(json.loads(path.read_text()) | lost))
    assert "<td>alignment<small>went on without the node 10.0.0.4, which was lost</small></td>" in page(run)


def test_a_stage_of_an_older_run_says_nothing_of_nodes(tmp_path):
    run = answered_run(tmp_path)
    path = run.stage("alignment").path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["lost_nodes"]
    path.write_text(json.dumps(manifest))
    assert "<td>alignment</td>" in page(run)


def test_names_that_a_model_invents_cannot_break_the_page(tmp_path):
    run = answered_run(tmp_path)
    cases = [tiny_case(i) for i in range(12)]
    write_answers(run, "base", {c.case_id: "1. '<script>alert(1)</script>'" for c in cases}, cases)
    text = page(run)
    assert "<script" not in text and "&lt;script&gt;" in text


# Label names, each with what a plot shows of it.
HOSTILE = {
    "$x^$": "$x^$",  # matplotlib's mathematics, and a mistake in it
    "costs $5 or $\\frac{": "costs $5 or $\\frac{",
    "_x": "_x",
    "100 % %s %(name)d {} {0}": "100 % %s %(name)d {} {0}",
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "</svg></figure>": "</svg></figure>",
    '" onload="alert(1)': '" onload="alert(1)',
    "{{ 7 * 7 }}{% if x %}": "{{ 7 * 7 }}{% if x %}",
    "[red]bold[/] [/red]": "[red]bold[/] [/red]",
    "=cmd|' /C calc'!A0": "=cmd|' /C calc'!A0",
    'a xmlns="b" id="axes" #0b0b01': 'a xmlns="b" id="axes" #0b0b01',
    "歌舞伎症候群 😀": "歌舞伎症候群 😀",
    "nul\x00 escape\x1b[31m": "nul\ufffd escape\ufffd[31m",
    "turned \u202eround\u2069": "turned \ufffdround\ufffd",
    "two\nlines": "two lines",
    "n" * 10_000: "n" * 40 + " …",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """The page of labels and cases that are called so."""
    run = answered_run(tmp_path_factory.mktemp("run"), synthetic=False)
    cases = [tiny_case(i, case_id=f"<b>{i}\u202e", synthetic=False) for i in range(12)]
    write_cases(run, cases)
    write_rankings(run, {case.case_id: truth_first(case.label_id) for case in cases}, cases)
    for model in ("base", "aligned"):
        write_answers(run, model, {case.case_id: "" for case in cases}, cases)
    names = [Label(id=f"OMIM:{i}", name=name) for i, name in enumerate(HOSTILE, 1)]
    save_labels(names, run.stage("cases").path / "labels.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return page(run)


@pytest.mark.parametrize("name", HOSTILE, ids=[repr(name)[:20] for name in HOSTILE])
def test_a_plot_shows_a_labels_name_as_it_is(hostile, name):
    drawn = Collected(hostile).drawn
    assert drawn.count(HOSTILE[name]) >= 3 * 2  # both axes of each model's confusion


def test_labels_names_cannot_break_the_page(hostile):
    parsed = Collected(hostile)
    assert parsed.open == []
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", hostile)
    assert "n" * 101 not in hostile
    assert "<b>" not in hostile and re.search("&lt;b&gt;[0-9]+\ufffd", hostile)


def test_one_model_alone_has_no_difference(tmp_path):
    text = page(answered_run(tmp_path, inference={"models": ["aligned"]}))
    assert "Aligned − base" not in text
    assert Collected(text).open == []


def test_a_gain_that_the_most_frequent_labels_would_bring_is_called_that(text):
    # The aligned model names the truth of all twelve cases, the three most frequent labels that of six.
    assert "would name it in 50.0 %: the aligned model is above that (+50.0 points" in text
