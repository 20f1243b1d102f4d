"""A move in a process of its own, which kills itself: `python move_driver.py SOURCE TARGET NAME WHERE AFTER BATCH`.

WHERE is `writing` (when AFTER documents more have been written), `comparing`, `publishing` or `published`; with `never`
the move ends, and its report is printed.
"""

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hybrid_search.indexing.job import IndexJob
from hybrid_search.interop import filling, move_source
from hybrid_search.interop import move as moves
from hybrid_search.settings import Settings


def end(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def end_after(function):
    def run(*arguments):
        function(*arguments)
        end()

    return run


def main(source, target, name, where, after, batch):
    filling.WRITE_BATCH = move_source.READ_BATCH = int(batch)
    if where == "comparing":
        moves.check_vectors_and_answers = end
    if where == "publishing":
        IndexJob.finish = end
    if where == "published":
        IndexJob.finish = end_after(IndexJob.finish)

    def told(now):
        if where == "writing" and now.documents >= int(after):
            end()

    settings = Settings(store=source, retry_s=5.0)
    report = moves.move(name, source=source, target=target, settings=settings, on_progress=told)
    print(json.dumps(report._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
