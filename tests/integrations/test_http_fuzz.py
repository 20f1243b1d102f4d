"""Schemathesis against the server's own OpenAPI: no 5xx, no status that is not in it, answers of the shape that is."""

import json
from collections import Counter
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, Phase, given, settings

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("prometheus_client", reason="needs the serve extra")
pytest.importorskip("schemathesis", reason="needs schemathesis")

import schemathesis

from hybrid_search.integrations.http import Limits, create_app

checks = schemathesis.checks

KEY = "fuzz"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
)
REAL = {
    "collection": ["films", "words"],
    "mode": ["hybrid", "sparse", "dense", "sparse+dense", "dense+dense"],
    "where": ["year > 1981", "not (text ~ 'music' or year in (1980, 1981))", "nofield = 1", "year >", "", ""],
    "query": ["music on an island", "shark 🎬", "\u0000", "old man"],
    "doc": ["jaws", "nothing", ""],
    "leg": ["sparse", "dense"],
    "offset": [0, 1],
    "depth": [100, 150],
    "weights": ["auto"],
    "rerank": [False, False, True],
    "rerank_budget_ms": [None],
    "min_confidence": [0.2, None],
    "min_score": ["dense=0.1", None],
}
"""Where the fuzzer alone would mostly meet what is not there."""


@schemathesis.serializer("application/x-ndjson")
def as_lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def told(said):
    """The document, with words that are really there in the place of any words."""
    for form in ("Search", "Explain"):
        properties = said["components"]["schemas"][form]["properties"]
        properties.update({name: {"enum": words} for name, words in REAL.items() if name in properties})
    for methods in said["paths"].values():
        for parameter in methods.get("get", {}).get("parameters", []):
            words = [word for word in REAL.get(parameter["name"], []) if word is not None]
            if words:
                parameter["schema"] = {"enum": words}
    return said


@pytest.fixture(scope="module")
def app(films):
    app = create_app(settings=films, api_key=KEY, limits=Limits(batch=5, characters=200))
    checks.load_all_checks()
    yield app
    app.state.service.close()


def schema_of(app, change=lambda said: said):
    """The application's document, changed, and the application itself, which lives once however often it is called."""
    body = json.dumps(change(deepcopy(app.openapi()))).encode()

    async def with_document(scope, receive, send):
        if scope["type"] != "http":
            return
        if scope["path"] != "/openapi.json":
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    return schemathesis.openapi.from_asgi("/openapi.json", with_document)


def fuzz(schema, examples, modes, names):
    """Try every operation so often in each mode, and count the statuses."""
    wanted = checks.CHECKS.get_by_names(list(names))
    seen = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        inputs = len(operation.body) or len(operation.query)
        for mode in modes if inputs else [schemathesis.GenerationMode.POSITIVE]:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=examples if inputs else 1,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def one(case):
                headers = {"Authorization": f"Bearer {KEY}", "Host": "localhost"}
                reply = case.call_and_validate(checks=wanted, headers=headers)
                seen[case.operation.label, reply.status_code] += 1

            one()
    return seen


def fuzz_both(app, examples):
    fuzz(schema_of(app), examples, list(schemathesis.GenerationMode), CHECKS)
    return fuzz(
        schema_of(app, told),
        examples,
        [schemathesis.GenerationMode.POSITIVE],
        set(CHECKS) - {"negative_data_rejection"},
    )


def test_nothing_that_the_document_does_not_say(app):
    seen = fuzz_both(app, 8)
    answered = {label for label, status in seen if status == 200}
    assert {"GET /search", "POST /search", "POST /search/batch", "GET /explain", "GET /metrics"} <= answered
    assert {status for _, status in seen} >= {200, 422}


@pytest.mark.slow
def test_nothing_that_the_document_does_not_say_for_long(app):
    fuzz_both(app, 500)
