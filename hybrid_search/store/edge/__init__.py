"""Qdrant Edge, the engine inside this process: a collection is a folder, with one writer and many readers.

In reading order: `generations` (the folder), `store`, `writer`, `working_shard` and `write_log` (how it writes),
`clean_shutdown`, `recovery_bases` and `recovery` (how it comes back after a kill), `shard` and `shard_process` (the
engine), `locks`, `files`, `disk`, `verify`. Only `shard` imports qdrant_edge.
"""
