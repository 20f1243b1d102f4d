"""Waiting for what another thread finds or does: woken by it, instead of looking again and again."""

from threading import Condition

CHANGED = Condition()
"""Held and notified by whoever changes what somebody may wait for."""


class Told(list):
    """A list that other threads append to; each item wakes those who wait."""

    def append(self, item):
        with CHANGED:
            super().append(item)
            CHANGED.notify_all()


def until(condition, seconds=30.0):
    """Wait until something holds of what is `Told`, or of what is changed with `CHANGED` held."""
    with CHANGED:
        if not CHANGED.wait_for(condition, seconds):
            raise AssertionError("it did not come to that")
    return True
