"""Counts of a server in the text format of Prometheus.

prometheus-client keeps them, in a registry of its own for each server. The text is written here, because the client's
has a series more for the time when each other one was made, which can be switched off for a whole process only.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4)
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram, in seconds."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What a server has done since it started. Labels have few values: paths are the routes', never what was sent."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        name = "hybrid_search_{}".format
        self._info = Gauge(name("info"), "The version that runs.", ["version"], registry=registry)
        self._in_flight = Gauge(
            name("requests_in_flight"), "Requests that are searched, or wait for it.", registry=registry
        )
        self._requests = Counter(
            name("requests"), "Requests answered.", ["method", "path", "status"], registry=registry
        )
        self._searches = Counter(
            name("searches"), "Queries answered, by collection and mode.", ["collection", "mode"], registry=registry
        )
        self._seconds = Histogram(
            name("request_duration_seconds"),
            "Seconds from a request to the end of its answer.",
            ["path"],
            registry=registry,
            buckets=BUCKETS_S,
        )

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def search(self, collection: str, mode: str) -> None:
        """Count a search that has been answered; both names are of things that are there, in one order of the legs."""
        self._searches.labels(collection, "+".join(sorted(mode.split("+")))).inc()

    def text(self, version: str, in_flight: int) -> str:
        """Return the page that Prometheus reads. `in_flight` are the requests that are worked on now."""
        self._info.labels(version).set(1)
        self._in_flight.set(in_flight)
        return "".join(map(_family, self._registry.collect()))


def _family(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    samples.sort(key=lambda sample: [value for label, value in sample.labels.items() if label != "le"])
    lines = [f"# HELP {name} {family.documentation}", f"# TYPE {name} {family.type}", *map(_line, samples)]
    return "\n".join(lines) + "\n"


def _line(sample: Sample) -> str:
    """Write one sample, whole numbers without a point.

    >>> _line(Sample("searches_total", {"mode": 'a"b'}, 3.0))
    'searches_total{mode="a\\\\"b"} 3'
    """
    labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sample.labels.items())
    value = int(sample.value) if sample.value.is_integer() else round(sample.value, 6)
    return f"{sample.name}{'{' + labels + '}' if labels else ''} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
