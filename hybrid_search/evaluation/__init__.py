"""Measure how good rankings are: runs against judgements, by the field's own measures. Needs the extra `eval`.

Words: a dataset is a corpus with queries and qrels; a run holds the ranked documents of each query; a mode is one way
to search; the baseline is BM25.

Modules, in reading order: `measures` (scores by query), `significance` (whether a difference could be chance), `modes`
(what can be judged), `job` (collections and searches of one evaluation), `report` (its values), `experiment` (one
dataset, several modes, one report), `cached_collections` (what evaluations build), `precision` (what int8 or fp16
costs). May import the composers `indexer` and `searcher` and all below them.
"""
