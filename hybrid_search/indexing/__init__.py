"""The road from sources to points, step by step; `indexer.py` above walks it."""
