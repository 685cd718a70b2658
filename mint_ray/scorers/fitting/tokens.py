"""A tokenizer for scorers that start from random weights."""

from __future__ import annotations

import string
from collections import Counter, defaultdict
from collections.abc import Iterable

from transformers import BertTokenizerFast  # pyright: ignore[reportAttributeAccessIssue] transformers makes the name at run time

# People (groups of cases) that have a word before it stands whole: one of fewer may be a name, and a tokenizer is no secret.
LEAST_GROUPS = 5


def build_tokenizer(
    texts: list[str], vocabulary: int, public: Iterable[str] = (), groups: list[str] | None = None
) -> BertTokenizerFast:
    """A lower-case word-piece tokenizer: the commonest words of the texts whole, all others spelled.

    The trainer that comes with tokenizers breaks ties by chance, so the same texts would give other ids.

    Args:
        texts: one a case. A word that fewer than `LEAST_GROUPS` of their groups have is spelled.
        public: published texts. Their words may stand whole wherever a case has them.
        groups: the patient or publication of each text; None: each text is of one of its own.
    """
    bare = BertTokenizerFast()
    normal, split = bare.backend_tokenizer.normalizer, bare.backend_tokenizer.pre_tokenizer

    def words_of(text: str) -> list[str]:
        return [word for word, _ in split.pre_tokenize_str(normal.normalize_str(text))]

    words, having = Counter(), defaultdict[str, set[object]](set)
    for text, group in zip(texts, groups or range(len(texts)), strict=True):
        words.update(found := words_of(text))
        for word in found:
            if len(having[word]) < LEAST_GROUPS:
                having[word].add(group)
    published = {word for text in public for word in words_of(text)}
    letters = sorted({letter for word in words for letter in word} | set(string.ascii_lowercase + string.digits))
    pieces = [*bare.all_special_tokens, *letters, *(f"##{letter}" for letter in letters)]
    common = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
    told = [word for word in common if len(having[word]) >= LEAST_GROUPS or word in published]
    pieces += told[: max(0, vocabulary - len(pieces))]
    return BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)})
