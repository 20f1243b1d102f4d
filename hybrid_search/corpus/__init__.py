"""Files to values and back: readers, chunking, the ledger of one run, TREC and BEIR files.

May import `protocols`, `types` and `errors` only. Everything streams: memory does not grow with the corpus. One bad
document is a `Failure` in the stream and the others go on; a source that cannot be read at all is a `CorpusError`
before the first one.
"""
