#!/usr/bin/env bash
# transformers 5.19.0, seen 2026-11-27: a CLIP folder without tokenizer files gets a tokenizer that knows no word.
#
# `AutoTokenizer.from_pretrained` on a folder that holds a CLIP configuration and no tokenizer file raises nothing: it
# makes an empty tokenizer of the class that belongs to the model. Every text becomes the same tokens, so a zero-shot
# classifier gives every label the same score. A folder of `CLIPModel.save_pretrained` alone is such a folder.
# Expected: an OSError, as for other models without their files. Mend: look for vocab.json or tokenizer.json first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.19.0
export HF_HUB_OFFLINE=1 FOLDER="$folder/clip"
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import os

from transformers import AutoTokenizer, CLIPConfig

CLIPConfig().save_pretrained(os.environ["FOLDER"])
tokenizer = AutoTokenizer.from_pretrained(os.environ["FOLDER"])
liver, lung = (tokenizer(f"a photo of {tissue} tissue")["input_ids"] for tissue in ("liver", "lung"))
print(f"files {sorted(os.listdir(os.environ['FOLDER']))}; {len(tokenizer)} tokens known; liver {liver}, lung {lung}")
assert os.listdir(os.environ["FOLDER"]) == ["config.json"] and len(tokenizer) == 2 and set(liver) == set(lung)
PY
