import json
import re
from html.parser import HTMLParser

import pytest

from mint_ray.evaluation.evaluate import evaluate
from tests.tiny_run import answered_run, tiny_case, write_answers


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
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


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


def test_one_model_alone_has_no_difference(tmp_path):
    text = page(answered_run(tmp_path, inference={"models": ["aligned"]}))
    assert "Aligned − base" not in text
    assert Collected(text).open == []


def test_a_gain_that_the_most_frequent_labels_would_bring_is_called_that(text):
    # The aligned model names the truth of all twelve cases, the three most frequent labels that of six.
    assert "would name it in 50.0 %: the aligned model is above that (+50.0 points" in text
