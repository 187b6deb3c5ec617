"""Tokenizer and text encoder of a bundled backbone: small, and made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.training.recipe import Recipe

_END = "</w>"
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")

#: What parts are called; merges are learned from these words, any other text is spelled out in bytes.
WORDS = (Path(__file__).parent / "words.txt").read_text("utf-8").split()


def new_tokenizer(recipe: Recipe) -> CLIPTokenizer:
    """A CLIP tokenizer: all bytes, and merges learned from WORDS; the same in every process."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = [*alphabet, *(byte + _END for byte in alphabet)]
    merges: Any = learned_merges(WORDS, recipe.vocabulary - len(letters) - len(_SPECIAL))
    symbols = dict.fromkeys([*letters, *map("".join, merges), *_SPECIAL])
    vocab = {symbol: i for i, symbol in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=recipe.max_tokens)


def learned_merges(words: Iterable[str], limit: int) -> list[tuple[str, str]]:
    """Byte pair encoding: join the commonest pair of neighbours, the first of equals in order of the alphabet.

    `tokenizers` has a trainer for this, which breaks ties differently from process to process.
    """
    spelled = [[*word[:-1], word[-1] + _END] for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs = Counter(pair for symbols in spelled for pair in pairwise(symbols))
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merged(symbols, best) for symbols in spelled if len(symbols) > 1]
    return merges


def _merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


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
