"""Reads front matter: metadata at the very top of a Markdown file, YAML between `---` or TOML between `+++`.

A block that is not a complete, readable mapping, such as a rule or a slide, is left in the text. Values follow the core
schema of YAML 1.2 and keep their spelling: `NO`, `on` and `12:30` are texts. A number is one only if it prints as it is
written, so a version `1.10` does not become the number 1.1.
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
"""Characters, by fence; a longer block is text between two rules.

For TOML it is less, because tomllib takes quadratic time for a long dotted key.
"""

MAX_DEPTH = 16
"""Levels of nesting: half of what a record may have."""

MAX_VALUES = 10_000
"""Values in total; an alias counts as all values it stands for, because a few lines of aliases can name billions."""

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
    """The block is not a complete, readable mapping."""


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return the metadata at the top of a text as JSON values, and the text without it.

    Without front matter that is `{}` and the whole text. As in pandoc, a blank line after the opening rule makes it a
    mere rule. Null values are left out.

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
    """Return the fence, what stands between it and the closing one, and the rest; three empty texts for no block."""
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
    """The value of an alias, and how many values it counts as."""

    value: Any
    values: int


class _Builder:
    """Builds JSON values from parser events, within the limits of depth and number."""

    def __init__(self) -> None:
        self._values = 0
        self._anchored: dict[str, _Anchored] = {}

    def document(self, events: Iterator[Any]) -> Any:
        """Return the single document of a stream."""
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
    return _resolve(event.value) if plain else event.value


def _resolve(written: str) -> Any:
    """Return a plain value by the core schema. Dates stay as written; a date with a time becomes ISO 8601.

    >>> [_resolve(written) for written in ("no", "true", "~", "007", "1.10", "4.5", "12:30", "0o14", "2024-05-01")]
    ['no', True, None, '007', '1.10', 4.5, '12:30', '0o14', '2024-05-01']
    >>> _resolve("2024-05-01 08:00:00 -0500")
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
    """Return the number if it prints as it is written, else the text."""
    if _DECIMAL.fullmatch(written) and repr(float(written)) == written:
        return float(written)
    return written
