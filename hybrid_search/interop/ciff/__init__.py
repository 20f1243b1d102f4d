"""The Common Index File Format: an inverted index in one file, which PISA, Lucene, Terrier and JASS exchange.

`messages` writes its parts and `reader` reads them; `turning` sorts postings that are more than memory holds.
"""
