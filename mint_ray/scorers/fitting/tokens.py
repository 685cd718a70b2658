"""A tokenizer for scorers that start from random weights."""

from __future__ import annotations

import string
from collections import Counter

from transformers import BertTokenizerFast


def build_tokenizer(texts: list[str], vocabulary: int) -> BertTokenizerFast:
    """A lower-case word-piece tokenizer: the commonest words of the texts whole, all others spelled.

    The trainer that comes with tokenizers breaks ties by chance, so the same texts would give other ids.
    """
    bare = BertTokenizerFast()
    normal, split = bare.backend_tokenizer.normalizer, bare.backend_tokenizer.pre_tokenizer
    words = Counter(word for text in texts for word, _ in split.pre_tokenize_str(normal.normalize_str(text)))
    letters = sorted({letter for word in words for letter in word} | set(string.ascii_lowercase + string.digits))
    pieces = [*bare.all_special_tokens, *letters, *(f"##{letter}" for letter in letters)]
    common = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
    pieces += common[: max(0, vocabulary - len(pieces))]
    return BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)})
