"""Search over HTTP (extra `serve`): JSON, a page for people, and counts for Prometheus.

    from hybrid_search.integrations.http import create_app
    app = create_app(collections=["movies"])          # any ASGI server runs it: uvicorn module:app

`hybrid-search serve` runs it on loopback. It only reads. The shapes are those of `hybrid-search search --format json`.

FastAPI reads requests, and writes the OpenAPI document, by pydantic models that are made of the options of a search.
Every error goes through one place, so no status is sent that the document does not name; and the documentation page
fetches nothing from elsewhere.
"""

from hybrid_search._util.extras import importing_extra

with importing_extra("serve", "The HTTP server"):
    import fastapi  # noqa: F401
    import prometheus_client  # noqa: F401
    import uvicorn  # noqa: F401

from hybrid_search.integrations.http.app import create_app
from hybrid_search.integrations.http.limits import Limits

__all__ = ["Limits", "create_app"]
