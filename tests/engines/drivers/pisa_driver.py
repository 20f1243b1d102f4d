"""Index and search with PISA, in an environment of its own: pisa_driver.py ciff|documents|copy FOLDER WORK ANSWER.

`copy` indexes a CIFF file and writes what it indexed as another one, WORK/index.ciff.
"""

import sys
from pathlib import Path
from time import perf_counter


def main(form, folder, work, answer):
    import pandas
    from exports import tell, topics, vectors
    from pyterrier_pisa import PisaIndex

    path = str(Path(work) / "pisa")
    start = perf_counter()
    if form in ("ciff", "copy"):
        PisaIndex.from_ciff(str(Path(folder) / "index.ciff"), path, stemmer="none")
        index = PisaIndex(path, stemmer="none", stops="none")
    else:
        index = PisaIndex(path, stemmer="none", stops="none", threads=1)
        index.toks_indexer(scale=1.0).index({"docno": name, "toks": weights} for name, weights in vectors(folder))
    if form == "copy":
        index.to_ciff(str(Path(work) / "index.ciff"))
    retrieve = index.quantized(num_results=100, threads=1, toks_scale=1.0)
    indexed = perf_counter()
    asked = [{"qid": query, "query_toks": tokens} for query, tokens in topics(folder)]
    found, run = retrieve(pandas.DataFrame(asked)), {}
    for query, document, score in zip(found.qid, found.docno, found.score, strict=True):
        run.setdefault(query, []).append((document, float(score)))
    tell(answer, len(index), run, indexed - start, perf_counter() - indexed)


if __name__ == "__main__":
    main(*sys.argv[1:])
