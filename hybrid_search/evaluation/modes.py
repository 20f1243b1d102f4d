"""The modes that an evaluation can judge: what they are called, which are the usual ones, and which exist here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.ranking.fusion import FUSIONS
from hybrid_search.search.request import AUTO, HYBRID
from hybrid_search.types import LEGS, LegName, Mode, in_order

BASELINE = "bm25"
RERANK = "rerank"
"""`+rerank` after a mode re-ranks it; `+auto` fuses it with weights chosen for each query."""
ALL = ":all"
"""After a fused mode, instead of a fusion: each of them."""


def usual_modes(fused: Collection[LegName], shadows: Mapping[LegName, Mode] | None = None) -> tuple[Mode, ...]:
    """Return the baseline, each leg, `hybrid`, and `hybrid` with each shadow leg.

    >>> usual_modes(["dense", "sparse"], {"new": "new+dense"})
    ('bm25', 'sparse', 'dense', 'new', 'hybrid', 'new+dense')
    """
    shadows = shadows or {}
    hybrid = (HYBRID,) if len(fused) > 1 else ()
    swapped = (mode for mode in shadows.values() if "+" in mode)
    return tuple(dict.fromkeys((BASELINE, *in_order(fused), *in_order(shadows), *hybrid, *swapped)))


def shadow_modes(manifest: Manifest) -> dict[LegName, Mode]:
    """Return, for each shadow leg, `hybrid` with it in the place of the first leg of its kind."""
    found: dict[LegName, Mode] = {}
    for leg, spec in manifest.legs.items():
        if spec.shadow:
            old = next((one for one in manifest.fused() if manifest.legs[one].kind == spec.kind), None)
            found[leg] = "+".join(leg if one == old else one for one in manifest.fused())
            if old is None:
                found[leg] = "+".join((leg, *manifest.fused()))
    return found


class Way(NamedTuple):
    """A mode without its endings, and what these said.

    Args:
        fusion: how the legs are fused; empty for what the search's options say.
    """

    mode: Mode
    fusion: str
    auto: bool
    rerank: bool

    @property
    def fused(self) -> bool:
        return self.mode == HYBRID or "+" in self.mode

    def among(self, single: Collection[str], legs: Collection[LegName]) -> bool:
        """Say whether it is one of these modes, or fuses some of these legs."""
        known = self.mode in single or ("+" in self.mode and {*self.mode.split("+")} <= {*legs})
        return known and self.fusion in ("", *FUSIONS) and (self.fused or not (self.auto or self.fusion))


def parse_mode(mode: str) -> Way:
    """Parse a mode's endings.

    >>> parse_mode("new+dense+auto+rerank")
    Way(mode='new+dense', fusion='', auto=True, rerank=True)
    >>> parse_mode("hybrid:convex")
    Way(mode='hybrid', fusion='convex', auto=False, rerank=False)
    """
    rest = mode.removesuffix(f"+{RERANK}")
    fused = rest.removesuffix(f"+{AUTO}")
    legs, colon, fusion = fused.partition(":")
    known = fusion if colon and fusion else colon  # a colon alone is no fusion
    return Way(legs, known, fused != rest, rest != mode)


def expand_modes(asked: Sequence[str] | None) -> Sequence[str] | None:
    """Return the modes with `:all` replaced by each fusion, each mode once.

    >>> expand_modes(["bm25", "hybrid:all", "hybrid:rrf"])
    ['bm25', 'hybrid:rrf', 'hybrid:dbsf', 'hybrid:minmax', 'hybrid:convex']
    """
    if asked is None:
        return None
    every = ([mode.replace(ALL, f":{how}", 1) for how in FUSIONS] if ALL in mode else [mode] for mode in asked)
    return list(dict.fromkeys(mode for some in every for mode in some))


def check_words(asked: Sequence[str] | None, legs: Collection[LegName]) -> None:
    """Refuse what is not a mode at all, before anything is read."""
    words = (BASELINE, *in_order({*LEGS, *legs} - {BASELINE}), HYBRID)
    wrong = [mode for mode in asked or () if not parse_mode(mode).among(words, legs)]
    if wrong or (asked is not None and not asked):
        raise InvalidArgument(
            f"Unknown mode: {', '.join(wrong) or 'none given'}. Take any of: {', '.join(words)}; or legs fused: a+b; "
            f"re-ranked: hybrid+rerank; with weights by the query: hybrid+auto; with a fusion: "
            f"hybrid:{FUSIONS[-1]} (any of {', '.join(FUSIONS)}, or all)."
        )


def check_modes(asked: Sequence[str] | None, legs: Sequence[LegName], usual: Sequence[Mode]) -> Sequence[Mode]:
    """Return the modes asked for, or the usual ones.

    Raises:
        InvalidArgument: the leg of a mode does not exist.
    """
    if asked is None:
        return usual
    wrong = [mode for mode in asked if not parse_mode(mode).among(usual, legs)]
    if wrong:
        raise InvalidArgument(
            f"There is no {' and no '.join(wrong)} to judge: the models have a {' and a '.join(legs)} leg only. "
            f"Take any of: {', '.join(usual)}."
        )
    return asked
