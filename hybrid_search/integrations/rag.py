"""Results to a context for a prompt, under the name that pipelines look for; `Results.to_context` is the same."""

from __future__ import annotations

from hybrid_search.context import Citation, Context, to_context

__all__ = ["Citation", "Context", "to_context"]
