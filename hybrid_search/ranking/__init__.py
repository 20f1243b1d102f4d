"""Turn rankings into rankings with pure functions: no engine, no model, no clock.

Ranks and ties are made here and nowhere else: by score descending, then by chunk_id. So a result is the same on every
engine and in every run.

Words: a leg's ranking holds its hits, rank 1 first; fusion merges rankings; MaxP lets a document's best chunk speak for
it; a stem is what words are compared by.

Modules, in reading order: `fusion` (several legs), `leg_weights` (weights by query), `rerank` and `collapse`
(documents), `mmr` (diversity), `stemming`, `expansion`, `term_scores`, `highlight` and `windows` (why a hit was found,
and what of it is shown). May import the values (`results`, `types`, `errors`, `_util`) only.
"""
