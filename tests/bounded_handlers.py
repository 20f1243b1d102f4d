"""What the tests of bounded processes have done there."""

import os
import re
import sys
import time

from hybrid_search.errors import MissingExtra


def opened(argument):
    def handle(request):
        verb, value = request
        if verb == "echo":
            yield from (argument, value)
        elif verb == "count":
            for number in range(value):
                yield "x" * 100_000 + str(number)
        else:
            yield from WORK[verb](value) or ()

    return handle


def unopened(argument):
    raise ValueError(f"cannot be opened with {argument!r}")


def spin(_):
    while True:
        pass


def hold_the_interpreter(_):
    re.fullmatch(r"(a|a)*b", "a" * 40)


def eat(megabytes):
    return [len(bytearray(megabytes << 20))]


def raises(name):
    raise {"ours": MissingExtra("parquet", "Reading it"), "theirs": KeyError("x" * 1_000)}[name]


WORK = {
    "spin": spin,
    "hold": hold_the_interpreter,
    "eat": eat,
    "sleep": lambda seconds: time.sleep(seconds),
    "crash": lambda _: os.abort(),
    "exit": lambda code: os._exit(code),
    "raise": raises,
    "print": lambda text: print(text) or sys.stdout.flush(),
    "deep": lambda depth: deep(depth),
}


def deep(depth):
    return depth and deep(depth - 1)
