"""The findings of `doctor`: values, and the guard that keeps one broken check from hiding the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from hybrid_search._util.locations import without_secrets
from hybrid_search.errors import HybridSearchError

State = Literal["ok", "warning", "problem", "unchecked"]
"""`ok` is also plain information; `unchecked` is what could not be looked at, with the reason."""

FOUND: tuple[State, ...] = ("problem", "warning")
"""The states that count as something found."""


class Diagnosis(NamedTuple):
    """The result of one check.

    Args:
        check: the name of the check, such as `free disk`.
        subject: what was checked: `install`, `models`, `store`, or `collection NAME`.
        state: see `State`.
        text: what was found, in words.
        command: what mends it, to be typed; empty where nothing has to be mended, or no command does it.
    """

    check: str
    subject: str
    state: State
    text: str
    command: str = ""


class Report(NamedTuple):
    """All findings, in the order of the checks."""

    diagnoses: list[Diagnosis]

    @property
    def found(self) -> bool:
        """Whether there is a problem or a warning."""
        return any(one.state in FOUND for one in self.diagnoses)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `doctor --format json` prints."""
        return {"found": self.found, "diagnoses": [one._asdict() for one in self.diagnoses]}


def guarded(check: str, subject: str, run: Callable[..., Iterable[Diagnosis]], *arguments: Any) -> list[Diagnosis]:
    """Run a check; if it raises, return what it found before, and that the rest is unchecked, with the reason.

    Args:
        check: the name of the check, or of the group of checks.
        subject: what it is about.
        run: the check.
        *arguments: it is called with them.
    """
    found = []
    try:
        for one in run(*arguments):
            found.append(one._replace(text=without_secrets(one.text), command=without_secrets(one.command)))
    except HybridSearchError as error:
        found.append(Diagnosis(check, subject, "unchecked", without_secrets(str(error))))
    except Exception as error:
        found.append(Diagnosis(check, subject, "unchecked", without_secrets(f"{type(error).__name__}: {error}")))
    return found


def about(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> about(1, "chunk"), about(2_000, "chunk")
    ('1 chunk', '2,000 chunks')
    """
    return f"1 {one}" if count == 1 else f"{count:,} {many or one + 's'}"
