"""Front matter: the metadata at the very top of a Markdown file, YAML between `---`, or TOML between `+++`.

Whatever stands there and is no mapping that can be read whole, be it a rule or a slide, is left in the text.
Values are read by the core schema of YAML 1.2 and by what is written: `NO`, `on` and `12:30` are texts, and a number is
one only where it is printed as it was written, so that a version `1.10` is not the number 1.1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from hybrid_search.corpus.fields import json_value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_FRONT_MATTER = {"---": 1 << 17, "+++": 1 << 14}
"""Characters by fence; what is longer is a text between two rules. tomllib takes a square of a long dotted key."""

MAX_DEPTH = 16
"""Half of what a record may have."""

MAX_VALUES = 10_000
"""Values in all, those of aliases counted again wherever they stand: a few lines of aliases can name billions."""

_CLOSING = {"---": ("---", "..."), "+++": ("+++",)}
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\.[0-9]{1,17}")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt]|[ \t]+)([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)"
    r"[ \t]*(?:([Zz])|([+-][0-9]{2}):?([0-9]{2})?)?"
)
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Unusable(ValueError):
    """The block is no mapping that can be read whole."""


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The metadata at the top of a text as JSON values, and the text without it; `{}` and the whole text for none.

    A blank line after the opening rule makes it a rule, as in pandoc. Null values are left out.

    >>> front_matter("---\\ntitle: 'On tea'\\nyear: 1946\\ntags: [a, b]\\n---\\nbody")
    ({'title': 'On tea', 'year': 1946, 'tags': ['a', 'b']}, 'body')
    >>> front_matter("---\\nonly a rule\\n---\\nbody")
    ({}, '---\\nonly a rule\\n---\\nbody')
    """
    fence, block, rest = _block(text)
    if not fence:
        return {}, text
    try:
        values = _from_yaml(block) if fence == "---" else tomllib.loads(block, parse_float=_number)
        found = {key: json_value(value, MAX_DEPTH) for key, value in values.items()}
    except (_Unusable, yaml.YAMLError, ValueError, RecursionError):
        return {}, text
    found = {key: value for key, value in found.items() if value is not None}
    return (found, rest) if found or not block.strip() else ({}, text)


def _block(text: str) -> tuple[str, str, str]:
    """The fence, what stands between it and the closing one, and what follows; three empty texts for no such block."""
    fence = text[:3]
    if fence not in _CLOSING:
        return "", "", ""
    first, _, rest = text[: MAX_FRONT_MATTER[fence]].partition("\n")
    if first.rstrip(" \t") != fence:
        return "", "", ""
    at = begin = len(first) + 1
    for place, line in enumerate(rest.split("\n")):
        if line.rstrip(" \t") in _CLOSING[fence]:
            return fence, text[begin:at], text[at + len(line) + 1 :]
        if place == 0 and not line.strip():
            break
        at += len(line) + 1
    return "", "", ""


def _from_yaml(block: str) -> dict[str, Any]:
    events = yaml.parse(block, Loader=_LOADER)
    built = _Builder().document(events)
    if built is None and not block.strip():
        return {}
    if not isinstance(built, dict):
        raise _Unusable("no mapping")
    return built


class _Anchored(NamedTuple):
    """What an alias stands for, and how many values that is."""

    value: Any
    values: int


class _Builder:
    """Makes JSON values of the parser's events, within the bounds of depth and number."""

    def __init__(self) -> None:
        self._values = 0
        self._anchored: dict[str, _Anchored] = {}

    def document(self, events: Iterator[Any]) -> Any:
        """The one document of a stream."""
        value = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                value = self._value(next(events), events, 0)
        if documents > 1:
            raise _Unusable("several documents")
        return value

    def _value(self, event: Any, events: Iterator[Any], depth: int) -> Any:
        before = self._values
        self._count(1)
        if depth > MAX_DEPTH:
            raise _Unusable("nested too deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            value: Any = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = [self._value(item, events, depth + 1) for item in _until(yaml.SequenceEndEvent, events)]
        else:
            value = self._mapping(events, depth)
        if event.anchor is not None:
            self._anchored[event.anchor] = _Anchored(value, self._values - before)
        return value

    def _mapping(self, events: Iterator[Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in _until(yaml.MappingEndEvent, events):
            if not isinstance(event, yaml.ScalarEvent) or event.value in found:
                raise _Unusable("a key is no text, or stands twice")
            found[event.value] = self._value(next(events), events, depth + 1)
        return found

    def _alias(self, name: str | None) -> Any:
        known = self._anchored.get(name or "")
        if known is None:  # nothing has this name yet, or the value holds itself
            raise _Unusable("an alias of nothing")
        self._count(known.values)
        return known.value

    def _count(self, more: int) -> None:
        self._values += more
        if self._values > MAX_VALUES:
            raise _Unusable("too many values")


def _until(end: type, events: Iterator[Any]) -> Iterator[Any]:
    for event in events:
        if isinstance(event, end):
            return
        yield event


def _scalar(event: Any) -> Any:
    plain = not event.style and event.tag is None
    return _resolved(event.value) if plain else event.value


def _resolved(written: str) -> Any:
    """A plain value by the core schema; dates stay as they are written, with a time they become ISO 8601.

    >>> [_resolved(written) for written in ("no", "true", "~", "007", "1.10", "4.5", "12:30", "0o14", "2024-05-01")]
    ['no', True, None, '007', '1.10', 4.5, '12:30', '0o14', '2024-05-01']
    >>> _resolved("2024-05-01 08:00:00 -0500")
    '2024-05-01T08:00:00-05:00'
    """
    if written in _CONSTANTS:
        return _CONSTANTS[written]
    if _WHOLE.fullmatch(written):
        return int(written) if written != "-0" else written
    time = _TIME.fullmatch(written)
    if time is not None:
        zone = "Z" if time[3] else f"{time[4]}:{time[5] or '00'}" if time[4] else ""
        return f"{time[1]}T{time[2]}{zone}"
    return _number(written)


def _number(written: str) -> float | str:
    """The number where it is printed as it is written, else the text."""
    if _DECIMAL.fullmatch(written) and repr(float(written)) == written:
        return float(written)
    return written
