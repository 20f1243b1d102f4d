"""Lists the cards of collections whose documents came with the weights of their terms: there is no model to load."""

from __future__ import annotations

from hybrid_search.types import ModelCard

FAMILY = "term_weights"
"""The family of the cards that `term_weights` serves; their runtime is `terms`."""

WORDS, WORDPIECES = "terms/words", "terms/wordpieces"
"""The names of the cards."""

TERM_CARDS = (
    ModelCard(
        name=WORDS,
        kind="sparse",
        runtime="terms",
        family=FAMILY,
        note="Words with the weights that documents came with (`import`); queries are counts of words. Multilingual.",
        languages=("mul",),
    ),
    ModelCard(
        name=WORDPIECES,
        kind="sparse",
        runtime="terms",
        family=FAMILY,
        note="BERT's wordpieces with the weights that documents came with (`import`); queries are counts. English.",
        languages=("en",),
    ),
)
