"""Checks of what is installed and stored: `verify` compares collections, and the journal, with what was written.

Imports from below: collection, indexing, store, settings.
"""
