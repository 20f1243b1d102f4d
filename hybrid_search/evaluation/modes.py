"""The modes that an evaluation can judge: what they are called, which are the usual ones, and which exist here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.search.request import AUTO, HYBRID
from hybrid_search.types import LEGS, LegName, Mode, in_order

BASELINE = "bm25"
RERANK = "rerank"
"""`+rerank` after a mode re-ranks it; `+auto` fuses it with weights chosen for each query."""


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
    """A mode without its endings, and what these said."""

    mode: Mode
    auto: bool
    rerank: bool

    @property
    def fused(self) -> bool:
        return self.mode == HYBRID or "+" in self.mode

    def among(self, single: Collection[str], legs: Collection[LegName]) -> bool:
        """Say whether it is one of these modes, or fuses some of these legs."""
        known = self.mode in single or ("+" in self.mode and {*self.mode.split("+")} <= {*legs})
        return known and (self.fused or not self.auto)


def parse_mode(mode: str) -> Way:
    """Parse a mode's endings.

    >>> parse_mode("new+dense+auto+rerank")
    Way(mode='new+dense', auto=True, rerank=True)
    """
    rest = mode.removesuffix(f"+{RERANK}")
    return Way(rest.removesuffix(f"+{AUTO}"), rest.endswith(f"+{AUTO}"), rest != mode)


def check_words(asked: Sequence[str] | None, legs: Collection[LegName]) -> None:
    """Refuse what is not a mode at all, before anything is read."""
    words = (BASELINE, *in_order({*LEGS, *legs} - {BASELINE}), HYBRID)
    wrong = [mode for mode in asked or () if not parse_mode(mode).among(words, legs)]
    if wrong or (asked is not None and not asked):
        raise InvalidArgument(
            f"Unknown mode: {', '.join(wrong) or 'none given'}. Take any of: {', '.join(words)}; or legs fused: a+b; "
            "re-ranked: hybrid+rerank; with weights by the query: hybrid+auto."
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
