"""Checks of what is installed and stored: `verify` compares collections, and the journal, with what was written.

`doctor` checks everything that a search depends on. Its modules, in reading order: `diagnosis` (what a check yields),
`doctor` (all of them together), `install`, `model_files`, `place` (the store), `collection_models`,
`collection_points`.

Imports from below: collection, indexing, store, settings.
"""
