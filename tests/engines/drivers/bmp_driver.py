"""Index a CIFF file and search it with BMP, in an environment of its own: bmp_driver.py FOLDER WORK ANSWER."""

import sys
from pathlib import Path
from time import perf_counter


def main(folder, work, answer):
    from bmp import Searcher, ciff2bmp
    from exports import tell, topics

    start = perf_counter()
    path = str(Path(work) / "index.bmp")
    ciff2bmp(ciff_file=str(Path(folder) / "index.ciff"), output=path, bsize=8, compress_range=False)
    searcher = Searcher(path)
    indexed, run = perf_counter(), {}
    for query, tokens in topics(folder):
        weights = {token: float(count) for token, count in tokens.items()}
        run[query] = [*zip(*searcher.search(weights, k=100, alpha=1.0, beta=1.0), strict=True)]
    tell(answer, None, run, indexed - start, perf_counter() - indexed)


if __name__ == "__main__":
    main(*sys.argv[1:])
