"""Measure how good rankings are: runs against judgements, by the field's own measures. Needs the extra `eval`.

Words: a dataset is a corpus with queries and qrels; a run holds the ranked documents of each query; a mode is one way
to search; the baseline is BM25.

Modules, in reading order: `measures` (scores by query), `significance` (whether a difference could be chance), `modes`
(what can be judged), `job` (collections and searches of one evaluation), `report` (its values), `experiment` (one
dataset, several modes, one report), `gate` (held against an earlier one), `fingerprints` (whether both are of the same
data), `judged_documents` (whether they are there), `outside_runs` and `given_weights` (what other engines have made),
`latency`, `oracle` and `approximation` (the details), `cached_collections` (what evaluations build), `precision` (what
int8 or fp16 costs). May import the composers `indexer` and `searcher` and all below them.
"""
