"""Reading as it goes wrong: in the process that reads, by the names of the files; or in this one, to be changed."""

import os
import time

from hybrid_search.corpus import reading
from hybrid_search.corpus.bounded import Exceeded
from hybrid_search.errors import HybridSearchError

OPENER = "tests.odd_reading:opened"


def opened(fields):
    """What reads files, and does what those want that are called after it."""
    read = reading.opened(fields)

    def handle(found):
        act = ODD.get(found.path.stem)
        if act is None:
            yield from read(found)
        elif act == "half":
            yield next(iter(read(found)))[:5]
            raise KeyError("half")
        else:
            act(found)

    return handle


def raise_(_):
    raise KeyError("odd")


def spin(_):
    while True:
        pass


ODD = {
    "raises": raise_,
    "half": "half",
    "spins": spin,
    "sleeps": lambda _: time.sleep(600),
    "eats": lambda _: bytearray(8 << 30),
    "aborts": lambda _: os.abort(),
    "exits": lambda _: os._exit(9),
}


class InThisProcess:
    """Answers as a `BoundedProcess` of the opener of `reading` does, without a process."""

    def __init__(self, _, fields):
        self._handle = reading.opened(fields)

    def ask(self, request, _):
        try:
            yield from self._handle(request)
        except HybridSearchError:
            raise
        except Exception as error:
            raise Exceeded(f"{type(error).__name__}: {error}") from error

    def start(self):
        pass

    def close(self):
        pass
