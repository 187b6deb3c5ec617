"""Tokenizer and text encoder of a bundled backbone: small, and made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.training.recipe import Recipe

_END = "</w>"
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")

#: What parts are called; merges are learned from these words, any other text is spelled out in bytes.
WORDS = (Path(__file__).parent / "words.txt").read_text("utf-8").split()


def new_tokenizer(recipe: Recipe) -> CLIPTokenizer:
    """A CLIP tokenizer: all bytes, and merges learned from WORDS; deterministic."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix=_END))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(
            vocab_size=recipe.vocabulary - len(alphabet),
            initial_alphabet=alphabet,
            end_of_word_suffix=_END,
            show_progress=False,
        ),
    )
    merges: Any = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    merged = ["".join(merge) for merge in merges]
    symbols = dict.fromkeys([*alphabet, *(byte + _END for byte in alphabet), *merged, *_SPECIAL])
    vocab = {symbol: i for i, symbol in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=recipe.max_tokens)


def new_text_encoder(recipe: Recipe, tokenizer: Any) -> Any:
    """An untrained CLIPTextModel for the tokenizer."""
    torch.manual_seed(recipe.seed)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.text_width,
            intermediate_size=4 * recipe.text_width,
            num_hidden_layers=recipe.text_layers,
            num_attention_heads=recipe.text_heads,
            max_position_embeddings=recipe.max_tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
