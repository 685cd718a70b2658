#!/usr/bin/env bash
# bm25s 0.3.16, seen 2026-11-27: a query that matches nothing gets documents, the last ones of the corpus first.
#
# `retrieve` returns k documents whatever the scores are. Where no word of the query stands in the corpus, or where the
# query is empty, every score is 0, and the documents come in reverse order of the corpus: retrieval for a language
# model then tells it about the last documents of the file. There is no error and no warning.
# Expected: no documents, or at least the order of the corpus. Mend: drop what scores 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check bm25s==0.3.16
"$folder/venv/bin/python" - <<'PY'
import bm25s

documents = ["short stature and a small jaw", "seizures", "deafness", "long fingers"]
options = {"stopwords": None, "show_progress": False}
index = bm25s.BM25()
index.index(bm25s.tokenize(documents, **options), show_progress=False)
for query in ("cataract", ""):
    found = index.retrieve(bm25s.tokenize([query], **options), k=2, show_progress=False)
    print(repr(query), "->", [documents[i] for i in found.documents[0]], found.scores[0].tolist())
    assert found.documents[0].tolist() == [3, 2] and found.scores[0].tolist() == [0.0, 0.0]
PY
