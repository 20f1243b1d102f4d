"""CIFF as the library of Protocol Buffers reads and writes it: messages made from their published definition."""

from google.protobuf.internal import decoder, encoder

from tests.engines.ciff_reader import DEFINITION, compiled

_CLASSES = compiled(DEFINITION.read_text(encoding="utf-8"))
Header, Posting, PostingsList, DocRecord = (
    _CLASSES[name] for name in ("Header", "Posting", "PostingsList", "DocRecord")
)


def delimited(message):
    """A message behind its length; bytes stand for a message."""
    content = message if isinstance(message, bytes) else message.SerializeToString()
    return encoder._VarintBytes(len(content)) + content


def read(data):
    """The messages of a file: header, postings lists, records. Nothing may be left over."""
    place = 0

    def following(kind):
        nonlocal place
        size, place = decoder._DecodeVarint(data, place)
        found = kind.FromString(data[place : place + size])
        place += size
        return found

    header = following(Header)
    lists = [following(PostingsList) for _ in range(header.num_postings_lists)]
    records = [following(DocRecord) for _ in range(header.num_docs)]
    assert place == len(data)
    return header, lists, records


def weights(lists, records):
    """The weights of terms by documents' ids."""
    found = {record.collection_docid: {} for record in records}
    ids = [record.collection_docid for record in records]
    for one in lists:
        number = 0
        for posting in one.postings:
            number += posting.docid
            found[ids[number]][one.term] = posting.tf
    return found


def index(documents, **header):
    """The messages of an index of documents, `{id: {term: weight}}`, as an engine writes them."""
    terms = sorted({term for weights in documents.values() for term in weights})
    lists = []
    for term in terms:
        having = [(number, weights[term]) for number, weights in enumerate(documents.values()) if term in weights]
        one = PostingsList(term=term, df=len(having), cf=sum(weight for _, weight in having))
        last = 0
        for number, weight in having:
            one.postings.add(docid=number - last, tf=weight)
            last = number
        lists.append(one)
    records = [
        DocRecord(docid=number, collection_docid=doc_id, doclength=sum(weights.values()))
        for number, (doc_id, weights) in enumerate(documents.items())
    ]
    total = sum(record.doclength for record in records)
    known = {"version": 1, "num_postings_lists": len(lists), "num_docs": len(records)}
    known |= {"total_postings_lists": len(lists), "total_docs": len(records), "total_terms_in_collection": total}
    known |= {"average_doclength": total / max(1, len(records)), "description": "a test"}
    return [Header(**{**known, **header}), *lists, *records]


def file_of(messages):
    return b"".join(map(delimited, messages))
