"""Read a CIFF file with ciff-toolkit, in an environment of its own: ciff_toolkit_driver.py FILE WORK ANSWER."""

import json
import sys
from pathlib import Path


def main(file, work, answer):
    from ciff_toolkit.read import CiffReader

    with CiffReader(file) as reader:
        header = reader.read_header()
        told = {name: getattr(header, name) for name in ("version", "num_postings_lists", "num_docs", "total_docs")}
        lists = {one.term: [(each.docid, each.tf) for each in one.postings] for one in reader.read_postings_lists()}
        documents = [one.collection_docid for one in reader.read_documents()]
    Path(answer).write_text(json.dumps({**told, "lists": lists, "documents": documents}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
