"""Load on `hybrid-search serve`: a second process asks over loopback, on so many connections, for so many seconds.

    python tests/benchmarks/serve.py [--seconds 60] [--connections 8] [--work FOLDER]

The collection is datasets/movies with the bundled profile, the queries are its own, in every mode and with filters,
kept-alive connections. An error is any status but 200, an answer that is no JSON, or a connection that breaks. Prints
one dated JSON line and adds it to tests/benchmarks/results/serve.jsonl; exits with 1 where there was an error.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
from datetime import datetime, timezone
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[2]
OPTIONS = ({}, {"mode": "sparse"}, {"mode": "dense"}, {"where": "year >= 1980"}, {"explain": True}, {"k": 50})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("/tmp/hybrid-search-serve"))
    parser.add_argument("--port", type=int, help="ask one that serves here already, and only print")
    asked = parser.parse_args()
    if asked.port:
        print(json.dumps(load(asked.port, asked.seconds, asked.connections)))
        return
    env = {**os.environ, "HYBRID_SEARCH_STORE": str(asked.work / "store"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hybrid_search"]
    index = ["index", str(ROOT / "datasets/movies"), "-c", "movies", "--profile", "bundled", "--progress", "none"]
    subprocess.run([*command, *index], env=env, check=True, stdout=subprocess.DEVNULL)
    serve = [*command, "serve", "-c", "movies", "--port", "0"]
    with subprocess.Popen(serve, env=env, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        said = re.search(r":(\d+)/", server.stderr.readline())
        assert said
        one = [sys.executable, __file__, "--port", said[1], "--seconds", str(asked.seconds)]
        one += ["--connections", str(asked.connections)]
        found = json.loads(subprocess.run(one, env=env, check=True, capture_output=True, text=True).stdout)
        server.send_signal(signal.SIGTERM)
        stopped = server.wait(timeout=60)
    line = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "benchmark": "serve",
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        **found,
        "exit_code": stopped,
    }
    print(json.dumps(line))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    with (results / "serve.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    sys.exit(bool(found["errors"] or stopped))


def load(port: int, seconds: float, connections: int) -> dict[str, object]:
    """Ask until the time is up; what it took, in milliseconds as the callers see it."""
    rows = (ROOT / "datasets/movies/queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [json.loads(row)["text"] for row in rows]
    spent: list[float] = []
    errors: list[str] = []
    begun = perf_counter()
    end = begun + seconds

    def one(number: int) -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        asks = ({"collection": "movies", "query": query, **extra} for query in cycle(queries) for extra in OPTIONS)
        for body in islice(asks, number * 7, None):
            start = perf_counter()
            if start > end:
                break
            try:
                line.request("POST", "/search", json.dumps(body), {"Content-Type": "application/json"})
                reply = line.getresponse()
                answer = json.loads(reply.read())
                if reply.status != 200 or answer["query"] != body["query"]:
                    errors.append(f"{reply.status}: {answer}")
            except (OSError, ValueError, http.client.HTTPException) as error:
                errors.append(repr(error))
                line.close()
            spent.append((perf_counter() - start) * 1e3)
        line.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    percents = statistics.quantiles(spent, n=100)
    return {
        "seconds": round(perf_counter() - begun, 1),
        "connections": connections,
        "requests": len(spent),
        "errors": len(errors),
        "first_errors": errors[:3],
        "per_second": round(len(spent) / (perf_counter() - begun), 1),
        "p50_ms": round(percents[49], 1),
        "p99_ms": round(percents[98], 1),
        "max_ms": round(max(spent), 1),
    }


if __name__ == "__main__":
    main()
