"""A tokenizer for scorers that start from random weights."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

from transformers import BertTokenizerFast

LEAST_CASES = 5  # that have a word before it stands whole: one of fewer may be a name, and the tokenizer is no secret


def build_tokenizer(texts: list[str], vocabulary: int, public: Sequence[str] = ()) -> BertTokenizerFast:
    """A lower-case word-piece tokenizer: the commonest words whole, all others spelled.

    The trainer that comes with tokenizers breaks ties by chance, so the same texts would give other ids.

    Args:
        texts: one a case. A word that fewer than `LEAST_CASES` of them have is spelled.
        public: texts of no case, whose words may all stand whole.
    """
    bare = BertTokenizerFast()
    normal, split = bare.backend_tokenizer.normalizer, bare.backend_tokenizer.pre_tokenizer
    told = [[word for word, _ in split.pre_tokenize_str(normal.normalize_str(text))] for text in (*texts, *public)]
    words = Counter(word for each in told for word in each)
    having = Counter(word for each in told[: len(texts)] for word in set(each))
    free = {word for each in told[len(texts) :] for word in each} | {w for w, n in having.items() if n >= LEAST_CASES}
    letters = sorted({letter for word in words for letter in word} | set(string.ascii_lowercase + string.digits))
    pieces = [*bare.all_special_tokens, *letters, *(f"##{letter}" for letter in letters)]
    common = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
    pieces += [word for word in common if word in free][: max(0, vocabulary - len(pieces))]
    return BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)})
