"""LlamaIndex's nodes as our documents and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from hybrid_search import types
from hybrid_search.errors import InvalidArgument
from hybrid_search.integrations.hit_documents import EVIDENCE, OWN, Found, found_one
from hybrid_search.integrations.llamaindex.filters import REF_DOC_ID
from hybrid_search.integrations.roundtrip import FrameworkDocument, document_of, given_metadata
from hybrid_search.results import DocumentHit

MORE = "llamaindex"
"""What a node has besides id, text and metadata is kept under this name (see `integrations.roundtrip`)."""

SHOWN = ("title",)
"""Of the evidence, what a language model gets to read."""

_CLASSES: dict[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (TextNode, Document, ImageNode, IndexNode, Node)
}
_APART = ("id_", "metadata", "embedding", "text", "text_resource")


def document_of_node(node: BaseNode) -> types.Document:
    """Return the document to index. The node's embedding is left out: the collection has its own models.

    Raises:
        InvalidArgument: no text, or metadata that is not JSON.
    """
    if not isinstance(node, BaseNode):
        raise InvalidArgument(f"add takes nodes, not {type(node).__name__}.")
    metadata = given_metadata(node.metadata)
    if node.ref_doc_id is not None:
        metadata[REF_DOC_ID] = node.ref_doc_id
    besides = {name: value for name, value in node.model_dump(mode="json").items() if name not in _APART}
    besides["class_name"] = node.class_name()
    return document_of(node.node_id, node.get_content(MetadataMode.NONE), metadata, {MORE: besides})


def node_of(kept: FrameworkDocument) -> BaseNode:
    """Return the node as it was added; of a document that was not a node, a `TextNode`."""
    metadata = {name: value for name, value in kept.metadata.items() if name != REF_DOC_ID}
    more = dict(kept.more.get(MORE, {}))
    kind = _CLASSES.get(more.pop("class_name", ""), TextNode)
    node = kind.from_json(json.dumps({**more, "id_": kept.id, "metadata": metadata}))
    node.set_content(kept.text)
    return node


def node_with_evidence(hit: DocumentHit, kept: FrameworkDocument) -> NodeWithScore:
    """Return a node of an answer, whole, with where each leg placed it."""
    found = found_one(hit)
    node = node_of(kept)
    node.metadata = {name: value for name, value in found.metadata.items() if name != REF_DOC_ID}
    _hide_evidence(node)
    return NodeWithScore(node=node, score=found.score)


def passage_node(found: Found) -> NodeWithScore:
    """Return the best passage of a document of an answer."""
    metadata: Mapping[str, Any] = found.metadata
    node = TextNode(
        id_=found.id,
        text=found.content,
        metadata={name: value for name, value in metadata.items() if name != REF_DOC_ID},
        start_char_idx=metadata["start"],
        end_char_idx=metadata["end"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=metadata["doc_id"])},
    )
    _hide_evidence(node)
    return NodeWithScore(node=node, score=found.score)


def _hide_evidence(node: BaseNode) -> None:
    """Ranks and scores are for people and programs, no part of a prompt and of no text to embed."""
    hidden = [name for name in (*EVIDENCE, OWN) if name not in SHOWN or not node.metadata.get(name)]
    node.excluded_llm_metadata_keys = list(dict.fromkeys([*node.excluded_llm_metadata_keys, *hidden]))
    node.excluded_embed_metadata_keys = list(dict.fromkeys([*node.excluded_embed_metadata_keys, *hidden]))
