"""The road from a query to results, step by step; `searcher.py` above walks it."""
