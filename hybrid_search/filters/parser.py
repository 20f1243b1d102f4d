"""Parsing the filter language: from text to the tree of `filters.ast`.

    year >= 1990 and genres in ('drama', 'war') and not countries = 'France' and title ~ 'love'

    FIELD = VALUE    !=  <  <=  >  >=        FIELD in (VALUE, ...)      FIELD between LOW and HIGH
    FIELD ~ 'words'  FIELD ^= 'beginning'    FIELD exists, exists(FIELD)
    FIELD within 5 km of (LAT, LON)          and, or, not, ( ); `not in` and `not between` as well

`not` binds closest, then `and`, then `or`. Keywords may be in any case. A value is a number, `true`, `false`, or a text
in single or double quotes. A text may have the escapes `\\n \\t \\r \\\\ \\' \\" \\u00e9` and doubled quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from hybrid_search.errors import FilterError
from hybrid_search.filters.ast import (
    And,
    Between,
    Compare,
    Condition,
    Exists,
    Geo,
    Match,
    Not,
    OneOf,
    Or,
    SourcePosition,
    with_text,
)
from hybrid_search.filters.syntax import Value, check_value, field_name, unescape

if TYPE_CHECKING:
    from lark import Lark, Token

MAX_LENGTH = 100_000
"""Longest filter text in characters. A tree may be as wide as you like."""

_APART = " \t\n\r\v\f'\"()=<>!~^;"
"""Characters that end a number or an unquoted text."""

_METRES = {"km": 1000.0, "m": 1.0, "mi": 1609.344}

_GRAMMAR = r"""
?start: either
?either: both (OR both)*
?both: one (AND one)*
?one: NOT one -> negation
    | "(" either ")"
    | test
?test: field OP value                              -> compare
    | field IN list                                -> one_of
    | field NOT IN list                            -> none_of
    | field BETWEEN value AND value                -> between
    | field NOT BETWEEN value AND value            -> outside
    | field WORDS value                            -> match
    | field BEGINS value                           -> match
    | field EXISTS                                 -> exists
    | EXISTS "(" field ")"                         -> exists_of
    | field WITHIN NUMBER UNIT OF "(" NUMBER "," NUMBER ")" -> near
field: key ("." key)*
key: NAME | DOUBLE
list: "(" value ("," value)* ","? ")"
value: NUMBER | SINGLE | DOUBLE | TRUE | FALSE

AND.3: /and(?![\w-])/i
OR.3: /or(?![\w-])/i
NOT.3: /not(?![\w-])/i
IN.3: /in(?![\w-])/i
BETWEEN.3: /between(?![\w-])/i
EXISTS.3: /exists(?![\w-])/i
WITHIN.3: /within(?![\w-])/i
OF.3: /of(?![\w-])/i
TRUE.3: /true(?![\w-])/i
FALSE.3: /false(?![\w-])/i
UNIT.3: /(km|mi|m)(?![\w-])/i
NAME: /[^\W\d\p{M}][\w\p{M}-]*/
NUMBER: /[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?(?=$|[^\w.]|(km|mi?)(?![\w-]))/i
SINGLE: /'(?:[^'\\]|\\.|'')*'/s
DOUBLE: /"(?:[^"\\]|\\.|"")*"/s
OP: "!=" | "<=" | ">=" | "=" | "<" | ">"
WORDS: "~"
BEGINS: "^="
%ignore /[\s\x1c-\x1f]+/
"""

_EXPECTED = {
    "NAME": "a field's name",
    "DOUBLE": "",
    "SINGLE": "",
    "TRUE": "",
    "FALSE": "",
    "NUMBER": "a number",
    "OP": "one of = != < <= > >=",
    "WORDS": '"~"',
    "BEGINS": '"^="',
    "LPAR": '"("',
    "RPAR": '")"',
    "COMMA": "a comma",
    "DOT": "",
    "UNIT": "km, m or mi",
    "$END": "the end",
}


def parse(text: str) -> Condition:
    """Parse a filter.

    Raises:
        FilterError: the text is no filter; `column` says where.
    """
    if not isinstance(text, str):
        raise FilterError(f'it is {text!r}, expected a text such as "year >= 1990" or a condition of `where`')
    if not text.strip():
        raise FilterError("it is empty. Write a condition, such as: year >= 1990")
    if len(text) > MAX_LENGTH:
        raise FilterError(
            f"it has {len(text):,} characters, and {MAX_LENGTH:,} is the limit. In Python give the tree: "
            "hybrid_search.filters.OneOf('doc_id', ids)"
        )
    from lark import UnexpectedInput

    try:
        condition = _parser().parse(text)
    except FilterError as error:
        raise FilterError(error.reason, text, error.column) from None
    except UnexpectedInput as error:
        reason, column = _explain_error(error, text)
        raise FilterError(reason, text, column) from None
    return with_text(cast(Condition, condition), text)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    from lark import Lark, Transformer

    made = {name: staticmethod(function) for name, function in _NODES.items()}
    # Built while it parses, so that no depth of the text is a depth of Python's stack.
    transformer = type("Making", (Transformer,), made)()
    return Lark(_GRAMMAR, parser="lalr", transformer=transformer, maybe_placeholders=False, regex=True)


class _Field(str):
    column: int


class _Parsed:
    """A value and its column."""

    def __init__(self, value: Value, column: int) -> None:
        self.value, self.column = value, column


def _key(found: Sequence[Token]) -> tuple[str, int]:
    [token] = found
    column = _column(token)
    return (unescape_at(token, column) if token.type == "DOUBLE" else str(token)), column


def _field(keys: Sequence[tuple[str, int]]) -> _Field:
    name = _Field(field_name(tuple(key for key, _ in keys)))
    name.column = keys[0][1]
    return name


def _value(found: Sequence[Token]) -> _Parsed:
    [token] = found
    column = _column(token)
    value: Value
    if token.type in ("TRUE", "FALSE"):
        value = token.type == "TRUE"
    elif token.type == "NUMBER":
        value = _number(token)
    else:
        value = unescape_at(token, column)
    _at(column, check_value, value)
    return _Parsed(value, column)


def _number(token: Token) -> int | float:
    digits = token.lstrip("+-")
    if digits[:1] == "0" and digits[1:2].isdecimal():
        raise FilterError(
            f"{token} begins with 0, as no number does; write a text in quotes: '{token}'", column=_column(token)
        )
    if not digits.isdecimal():
        return float(token)
    if len(digits) > 400:  # Python itself refuses to read very long ones
        raise FilterError("the number is too large", column=_column(token))
    return int(token)


def unescape_at(token: Token, column: int) -> str:
    found: str = _at(column, unescape, str(token)[1:-1])
    return found


def _compare(found: Sequence[Any]) -> Condition:
    field, op, read = found
    return _make(Compare, field, read, str(op), read.value)


def _one_of(found: Sequence[Any]) -> Condition:
    field, values = found[0], found[-1]
    return _make(OneOf, field, values[0], tuple(read.value for read in values))


def _between(found: Sequence[Any]) -> Condition:
    field, low, high = found[0], found[-3], found[-1]
    return _make(Between, field, low, low.value, high.value)


def _match(found: Sequence[Any]) -> Condition:
    field, op, read = found
    return _make(Match, field, read, str(op), read.value)


def _exists(field: _Field) -> Condition:
    return Exists(field, place=SourcePosition("", field.column))


def _near(found: Sequence[Any]) -> Condition:
    field, _, distance, unit, _, lat, lon = found
    numbers = [_value([token]).value for token in (lat, lon, distance)]
    metres = float(numbers[2]) * _METRES[unit.lower()]
    return _make(Geo, field, _Parsed(0, _column(distance)), float(numbers[0]), float(numbers[1]), metres)


def _make(kind: Any, field: _Field, read: _Parsed, *values: Any) -> Condition:
    """Make a condition on a field. An error in it is reported at its value's column."""
    made: Condition = _at(read.column, kind, field, *values, place=SourcePosition("", field.column))
    return made


def _at(column: int, make: Callable[..., Any], *values: Any, **options: Any) -> Any:
    try:
        return make(*values, **options)
    except FilterError as error:
        raise FilterError(error.reason, column=column) from None


def _join(kind: Any) -> Callable[[Sequence[Any]], Condition]:
    def join(found: Sequence[Any]) -> Condition:
        joint: Condition = _at(_column(found[1]), kind, tuple(found[::2]))
        return joint

    return join


_NODES: dict[str, Callable[[Any], Any]] = {
    "key": _key,
    "field": _field,
    "value": _value,
    "list": list,
    "compare": _compare,
    "one_of": _one_of,
    "none_of": lambda found: Not(_one_of(found)),
    "between": _between,
    "outside": lambda found: Not(_between(found)),
    "match": _match,
    "exists": lambda found: _exists(found[0]),
    "exists_of": lambda found: _exists(found[1]),
    "near": _near,
    "negation": lambda found: _at(_column(found[0]), Not, found[1]),
    "both": _join(And),
    "either": _join(Or),
}


def _explain_error(error: Any, text: str) -> tuple[str, int]:
    """Return what is wrong where the parser stopped, and the column."""
    token = getattr(error, "token", None)
    expected = set(getattr(error, "accepts", None) or getattr(error, "allowed", None) or ())
    if token is None:
        at = error.pos_in_stream
        rest = text[at:]
        if rest[0] in "'\"":
            return f"the text that begins with {rest[0]} has no end; close it with another {rest[0]}", at + 1
        found = rest.split(maxsplit=1)[0][:30]
    elif token.type == "$END":
        return f"it ends too early; expected {_describe(expected)}", len(text.rstrip()) + 1
    else:
        at, found = token.start_pos, str(token)[:30]
    if "SINGLE" in expected and found.lower() in ("null", "none"):
        return f"{found} is no value; a field without one is found by: not exists(FIELD)", at + 1
    if "SINGLE" in expected and found[0].isalpha():
        return f"{found} is no value; put texts in quotes: '{found}'", at + 1
    loose = _unquoted(text, at, glued="SINGLE" not in expected)
    if loose is not None:
        return f"{loose[0]} is neither a number nor a text in quotes; write texts and dates as '{loose[0]}'", loose[
            1
        ] + 1
    return f"expected {_describe(expected)}, found {found}", at + 1


def _unquoted(text: str, at: int, *, glued: bool) -> tuple[str, int] | None:
    """Find an unquoted text such as `2026-11-21` around a position. Returns the text and its start; None for none.

    Args:
        text: of the filter.
        at: where the parser stopped.
        glued: find only a text that begins before `at`.
    """
    start = at
    while start and text[start - 1] not in _APART:
        start -= 1
    end = at
    while end < len(text) and text[end] not in _APART:
        end += 1
    found = text[start:end].rstrip(",.")[:30]
    if (glued and start == at) or at - start >= len(found) or not any(sign.isalnum() for sign in found):
        return None
    return found, start


def _describe(expected: set[str]) -> str:
    names = [_EXPECTED.get(name, f'"{name.lower()}"') for name in sorted(expected)]
    if "SINGLE" in expected:
        names = ["a value: a number, true, false or a text in quotes", *(name for name in names if name == '")"')]
    some = [name for name in names if name]
    return " or ".join([", ".join(some[:-1]), some[-1]] if len(some) > 1 else some) or "something else"


def _column(token: Any) -> int:
    return int(token.start_pos) + 1
