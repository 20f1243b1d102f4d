"""Counts of a server in the text format of Prometheus.

Counted on the event loop alone, so without a lock. Labels have few values: paths are the routes', never what was sent.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4)
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram, in seconds."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What a server has done since it started."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._searches: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS_S) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        self._requests[method, path, str(status)] += 1
        self._buckets[path][bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds[path] += seconds

    def search(self, collection: str, mode: str) -> None:
        """Count a search that has been answered; both names are of things that are there, in one order of the legs."""
        self._searches[collection, "+".join(sorted(mode.split("+")))] += 1

    def text(self, version: str, in_flight: int) -> str:
        """The page that Prometheus reads. `in_flight` are the requests that are worked on now."""
        lines = [
            *_head("hybrid_search_info", "gauge", "The version that runs."),
            _line("info", {"version": version}, 1),
        ]
        lines += _head("hybrid_search_requests_in_flight", "gauge", "Requests that are searched, or wait for it.")
        lines.append(_line("requests_in_flight", {}, in_flight))
        lines += _head("hybrid_search_requests_total", "counter", "Requests answered.")
        for (method, path, status), count in sorted(self._requests.items()):
            lines.append(_line("requests_total", {"method": method, "path": path, "status": status}, count))
        lines += _head("hybrid_search_searches_total", "counter", "Queries answered, by collection and mode.")
        for (collection, mode), count in sorted(self._searches.items()):
            lines.append(_line("searches_total", {"collection": collection, "mode": mode}, count))
        name = "request_duration_seconds"
        lines += _head(f"hybrid_search_{name}", "histogram", "Seconds from a request to the end of its answer.")
        for path, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
                total += count
                lines.append(_line(f"{name}_bucket", {"path": path, "le": bound}, total))
            lines.append(_line(f"{name}_sum", {"path": path}, round(self._seconds[path], 6)))
            lines.append(_line(f"{name}_count", {"path": path}, total))
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, says: str) -> Iterable[str]:
    return (f"# HELP {name} {says}", f"# TYPE {name} {kind}")


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    """One sample.

    >>> _line("searches_total", {"mode": 'a"b'}, 3)
    'hybrid_search_searches_total{mode="a\\\\"b"} 3'
    """
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"hybrid_search_{name}{'{' + shown + '}' if shown else ''} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
