"""Runs `python -m hybrid_search.training.bundled DATA OUT`, which makes the model that ships inside the package."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from hybrid_search.training.bundled.ship import ship
from hybrid_search.training.bundled.teach import Recipe

_USAGE = "usage: python -m hybrid_search.training.bundled DATA OUT [WORK] [NAME=NUMBER ...]"


def main(arguments: list[str]) -> int:
    """Parse the arguments, log to stderr, and run."""
    folders = [Path(each) for each in arguments if "=" not in each]
    if not 2 <= len(folders) <= 3:
        sys.stderr.write(f"{_USAGE}\nNAME is a field of Recipe: {', '.join(Recipe._fields)}\n")
        return 2
    given = dict(each.split("=", 1) for each in arguments if "=" in each)
    defaults = Recipe()._asdict()
    recipe = Recipe(**{name: type(defaults[name])(value) for name, value in given.items()})
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    data, out = folders[:2]
    work = folders[2] if len(folders) == 3 else out.with_name(f"{out.name}-work")
    ship(data, work, out, recipe)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
