"""Fits a vocabulary head in closed form for a transformer that has none, so that training starts from a matcher.

A sentence encoder's token states still know their token. A linear map, fitted on a few thousand tokens, sends five out
of six states of all-MiniLM-L6-v2 nearest to the embedding of their own word, and next to related words. So the head
does not start at random: its transform is that map, its decoder the word embeddings, and its bias a threshold that lets
a text's own words and few others pass, rare words with more weight than frequent ones. Unlike a random head it ranks
before the first step, about as well as BM25 or better, and training has something to improve.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

# Tokens the map is fitted on, and the tokens of a text that are read for it.
FIT_TOKENS, FIT_LENGTH = 20_000, 128
# Of what the embeddings' own spread would be: enough to keep the map stable, too little to bend it.
RIDGE = 1e-3
# A token's own word gets this logit, and any word passes at THRESHOLD of it; up to COMMON more for the commonest.
OWN_LOGIT, THRESHOLD, COMMON = 4.0, 0.5, 0.5
# The map's output has unit spread, so behind this shift GELU, which comes next, changes it no more.
SHIFT = 5.0
# The logit of what is no word.
NEVER = -50.0
_UNUSED = re.compile(r"\[unused\d+\]")


def fit_head(mlm: Any, tokenizer: Any, texts: Sequence[str]) -> None:
    """Replace the random head of a BertForMaskedLM by one that recognises words. Nothing else is changed.

    Args:
        mlm: a model of transformers, its decoder tied to the word embeddings.
        tokenizer: its tokenizer.
        texts: one or more texts of the kind it will read.
    """
    torch: Any = import_module("torch")
    words = mlm.get_output_embeddings().weight.detach()
    head = mlm.cls.predictions
    states, tokens, rarity = _observe(mlm, tokenizer, texts)
    inputs = torch.cat([states, torch.ones(len(states), 1)], dim=1).double()
    targets = (words - words.mean(0))[tokens].double()
    ridge = RIDGE * len(inputs) * float(states.pow(2).mean())
    square = inputs.T @ inputs + ridge * torch.eye(inputs.shape[1], dtype=torch.float64)
    fitted = torch.linalg.solve(square, inputs.T @ targets)
    fitted = (fitted / (inputs @ fitted).std().clamp(min=1e-6)).float()
    with torch.no_grad():
        head.transform.dense.weight.copy_(fitted[:-1].T)
        head.transform.dense.bias.copy_(fitted[-1] + SHIFT)
        head.transform.LayerNorm.weight.fill_(1.0)
        head.transform.LayerNorm.bias.fill_(0.0)
        own = (head.transform(states) * words[tokens]).sum(1).mean().clamp(min=1e-6)
        head.transform.LayerNorm.weight.fill_(float(OWN_LOGIT / own))
        bias = -(THRESHOLD + COMMON * (1 - rarity)) * OWN_LOGIT
        bias[wordless(tokenizer)] = NEVER
        mlm.get_output_embeddings().bias.copy_(bias)


def wordless(tokenizer: Any) -> list[int]:
    """Return the ids of special and reserved tokens, which no word of a text has."""
    reserved = [number for token, number in tokenizer.get_vocab().items() if _UNUSED.fullmatch(token)]
    return sorted({*tokenizer.all_special_ids, *reserved})


def inverse_frequency(tokenizer: Any, texts: Sequence[str]) -> Any:
    """Return log((n + 1) / (df + ½)) of each vocabulary entry over n texts, shape (vocabulary,), float32."""
    torch: Any = import_module("torch")
    frequency = torch.zeros(len(tokenizer))
    for at in range(0, len(texts), 256):
        for ids in tokenizer(list(texts[at : at + 256]), add_special_tokens=False, verbose=False)["input_ids"]:
            frequency[sorted(set(ids))] += 1
    return torch.log((len(texts) + 1) / (frequency + 0.5))


def _observe(mlm: Any, tokenizer: Any, texts: Sequence[str]) -> tuple[Any, Any, Any]:
    """Return token states (n, hidden), their tokens (n,), and each word's rarity (vocabulary,), 0..1."""
    torch: Any = import_module("torch")
    rarity = inverse_frequency(tokenizer, texts)
    states, tokens, count = [], [], 0
    special = torch.tensor(tokenizer.all_special_ids)
    mlm.eval()
    with torch.no_grad():
        for at in range(0, len(texts), 16):
            part = list(texts[at : at + 16])
            batch = tokenizer(part, padding=True, truncation=True, max_length=FIT_LENGTH, return_tensors="pt")
            hidden = mlm.base_model(**batch).last_hidden_state
            real = (batch["attention_mask"] == 1) & ~torch.isin(batch["input_ids"], special)
            states.append(hidden[real])
            tokens.append(batch["input_ids"][real])
            count += int(real.sum())
            if count >= FIT_TOKENS:
                break
    return torch.cat(states)[:FIT_TOKENS], torch.cat(tokens)[:FIT_TOKENS], rarity / rarity.max().clamp(min=1e-6)
