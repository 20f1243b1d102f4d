"""Search over HTTP (extra `serve`): JSON, a page for people, and counts for Prometheus.

    from hybrid_search.integrations.http import create_app
    app = create_app(collections=["movies"])          # any ASGI server runs it: uvicorn module:app

`hybrid-search serve` runs it on loopback. It only reads. The shapes are those of `hybrid-search search --format json`.

FastAPI reads requests, and writes the OpenAPI document, by pydantic models that are made of the options of a search.
Every error goes through one place, so no status is sent that the document does not name; and the documentation page
fetches nothing from elsewhere.
"""

from importlib.util import find_spec

from hybrid_search.errors import MissingExtra

if not all(map(find_spec, ("fastapi", "starlette", "uvicorn", "prometheus_client"))):
    raise MissingExtra("serve", "The HTTP server")

from hybrid_search.integrations.http.app import create_app
from hybrid_search.integrations.http.limits import Limits

__all__ = ["Limits", "create_app"]
