"""Takes the picture in README: `python -m hybrid_search.cli.tui.picture FILE.svg [QUERY]`.

Indexes the films with the bundled models into a store of its own, searches them on a screen that nobody sees, and
writes what stands there.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from hybrid_search.cli.demo import COLLECTION, movies_folder
from hybrid_search.cli.tui.app import SearchApp
from hybrid_search.indexer import Indexer
from hybrid_search.searcher import Searcher
from hybrid_search.settings import load_settings

QUERY = "a film about music"
SIZE = (140, 42)


async def pictured(app: SearchApp, query: str, size: tuple[int, int] = SIZE, keys: tuple[str, ...] = ()) -> str:
    """The screen as SVG, after a query was typed and keys were pressed."""
    async with app.run_test(size=size) as pilot:
        await pilot.press(*query, *keys)
        for _ in range(1000):
            await pilot.pause(0.05)
            if app.shown is not None and app.shown.asked == app.asked:
                break
        await pilot.pause(0.1)
        svg = app.export_screenshot(title=f"hybrid-search tui -c {COLLECTION}")
    # A picture in a page may fetch nothing, fonts included.
    return re.sub(r",\s*url\([^)]*\) format\([^)]*\)", "", svg)


def main(file: str, query: str = QUERY) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(None, store=folder)
        corpus = movies_folder()
        Indexer.open(COLLECTION, settings=settings, profile="bundled").index(corpus)
        app = SearchApp([COLLECTION], lambda name: Searcher.open(name, settings=settings))
        Path(file).write_text(asyncio.run(pictured(app, query)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
