"""English words that say little of what a text is about, as BERT's tokenizer splits them (`don't` is don, ', t)."""

from __future__ import annotations

_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was
will with what which who how when where why do does did has have had can could would should may might from about i you
we he she its his her our my me us them been being were so than too very any some all each more most other only own same
just also s t don re ve ll d m am
"""

STOP_WORDS = frozenset(_WORDS.split())
