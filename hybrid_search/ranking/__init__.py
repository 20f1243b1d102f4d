"""Pure functions from rankings to rankings: no engine, no model, no clock.

Ranks and ties are made here and nowhere else: by score descending, then by chunk_id, so that a result is the same on
every engine and in every run.
"""
