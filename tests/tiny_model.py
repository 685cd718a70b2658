"""A language model that trains and answers in moments: nobody's words, an ordinary folder."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase


def save_tiny_llama(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A model folder: Llama of width 64 and two layers, random weights from a fixed seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,  # wide enough for answers to differ in likelihood
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
