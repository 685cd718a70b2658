"""The reader of notes against gold notes: written by hand, and made of published packets by templates."""

import pytest

from tests.conftest import REAL_DATA
from tests.notes.gold import DEVELOPMENT, HELD_OUT, gold_note, packets
from tests.notes.scores import ours, plain_reader, scores
from tests.notes.written import written

PACKETS = REAL_DATA / "phenopackets" / "phenopackets.jsonl.gz"


@pytest.mark.parametrize("which", ["development", "held_out"])
def test_notes_written_by_hand_are_read_nearly_whole_and_much_better_than_by_a_plain_dictionary(which):
    notes = written(which)
    read, plain = scores(notes, ours), scores(notes, plain_reader)
    assert read["precision"] >= 0.95 > plain["precision"] + 0.2
    assert read["recall"] >= 0.95 > plain["recall"] + 0.2
    assert read["precision of excluded"] >= 0.95 and read["recall of excluded"] >= 0.93
    assert read["excluded taken for observed"] == read["family taken for observed"] == 0


@pytest.mark.parametrize("style", [DEVELOPMENT, HELD_OUT], ids=["development", "held out"])
def test_notes_made_of_published_packets_are_read_nearly_whole(style):
    if not PACKETS.exists():
        pytest.skip("needs the published packets (MINT_RAY_REAL_DATA)")
    notes = [gold_note(packet, style, seed=0) for packet in list(packets(PACKETS))[::45] if packet[3]]
    assert len(notes) > 140
    read = scores(notes, ours)
    assert read["precision"] >= 0.97 and read["recall"] >= 0.95
    assert read["precision of excluded"] >= 0.97 and read["recall of excluded"] >= 0.95
    for kind in ("excluded", "family", "uncertain"):
        assert read[kind] > 100 and read[f"{kind} taken for observed"] <= 0.01 * read[kind]


def test_the_two_sets_of_templates_share_no_sentence():
    for part in ("opening", "observed", "excluded", "family", "uncertain"):
        assert not set(getattr(DEVELOPMENT, part)) & set(getattr(HELD_OUT, part))


def test_every_phrase_names_a_term_that_the_ontology_has():
    from mint_ray.hpo import ontology
    from mint_ray.notes.lexicon import NORMALS, PHRASES

    for path in (PHRASES, NORMALS):
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert lines and [line for line in lines if not ontology().named(line.partition(": ")[0])] == []
