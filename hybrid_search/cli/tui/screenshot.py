"""Takes the picture of README and the guide: `python -m hybrid_search.cli.tui.screenshot FILE.svg [QUERY]`.

Indexes the films with the bundled models into a store of its own, searches them on a screen that nobody sees, and
writes what stands there.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hybrid_search.cli.demo import COLLECTION, movies_folder
from hybrid_search.cli.tui.app import SearchApp
from hybrid_search.indexer import Indexer
from hybrid_search.searcher import Searcher
from hybrid_search.settings import load_settings

QUERY = "an astronaut alone in space"
KEYS = ("ctrl+g", "down")
SIZE = (132, 38)


async def pictured(app: SearchApp, query: str, size: tuple[int, int] = SIZE, keys: Sequence[str] = ()) -> str:
    """Return the screen as SVG, after a query was typed and keys were pressed; each is answered before the next."""
    async with app.run_test(size=size) as pilot:
        for pressed in (tuple(query), *((key,) for key in keys)):
            await pilot.press(*pressed)
            while app.shown is None or app.shown.state != app.state:
                await pilot.pause(0.05)
        await pilot.pause(0.1)
        svg = app.export_screenshot(title=f"hybrid-search tui -c {COLLECTION}")
    # A picture in a page may fetch nothing, fonts included.
    return re.sub(r",\s*url\([^)]*\) format\([^)]*\)", "", svg)


def main(file: str, query: str = QUERY) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(None, store=folder)
        Indexer.open(COLLECTION, settings=settings, profile="bundled").index(movies_folder())
        app = SearchApp([COLLECTION], lambda name: Searcher.open(name, settings=settings))
        keys = KEYS if query == QUERY else ()
        Path(file).write_text(asyncio.run(pictured(app, query, keys=keys)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
