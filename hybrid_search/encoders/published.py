"""Lists what others have measured of models in the catalogue, as they print it.

Nothing of it was measured here, and the sources differ in what they leave out: compare it only within a column.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_search.types import Published

_SBERT = "sbert.net/docs/sparse_encoder/pretrained_models.html"
_UNICOIL = "castorini/pyserini: docs/experiments-unicoil.md"
_TILDE = "castorini/pyserini: docs/experiments-unicoil-tilde-expansion.md"
_OPENSEARCH = "opensearch-project/opensearch-neural-sparse-encoding"

PUBLISHED: Mapping[str, Published] = {
    "prithivida/Splade_PP_en_v1": Published(48.7, 37.2, _SBERT),
    "naver/splade-v3": Published(51.7, 40.2, _SBERT),
    "naver/splade-cocondenser-ensembledistil": Published(50.5, 38.0, _SBERT),
    f"{_OPENSEARCH}-doc-v3-gte": Published(54.6, None, _SBERT),
    f"{_OPENSEARCH}-doc-v3-distill": Published(51.7, None, _SBERT),
    f"{_OPENSEARCH}-doc-v2-mini": Published(49.7, None, _SBERT),
    "ibm-granite/granite-embedding-30m-sparse": Published(50.8, None, _SBERT),
    "castorini/unicoil-msmarco-passage": Published(None, 35.2, _UNICOIL),
    "ielab/unicoil-tilde200-msmarco-passage": Published(None, 35.0, _TILDE),
}
"""By the name of the card."""
