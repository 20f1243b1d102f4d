"""Builds the bundled model as one ONNX graph: token ids in, both vectors out of a single forward pass.

    input_ids, attention_mask (batch, length) int64, side () int64: 0 a query, 1 a document
    -> sparse (batch, 30522) float32 >= 0, dense (batch, hidden) float32 of unit length

Weights are float32, or int8 with one scale per row (word embeddings) or column (matrices). The inputs of int8 products
are quantised at run time, each token by its own largest value. So a text's vectors do not depend on the rest of its
batch, as they would with one scale for the whole batch. Source: Dettmers et al. 2022, arXiv 2208.07339, section 2
(vector-wise quantisation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.bundled.graph import BertShape, Graph, mean_pooling

if TYPE_CHECKING:
    import onnx

_FUSED = "com.microsoft"
_FLOAT, _UINT8, _INT32, _BOOL = 1, 2, 6, 9
# Seven bits: where a processor adds two products into sixteen bits before it widens them, eight overflow.
_LEVELS = 63
_MIDDLE = 128
_EMBEDDING_LEVELS = 127
_OUT_OF_SIGHT = 1e4

Array = NDArray[Any]


class Lexicon(NamedTuple):
    """What the model knows about the vocabulary.

    Args:
        stems: (30522,) the wordpiece that stands for each one's word class; -1 if it has no weight of its own.
        columns: (columns,) the wordpieces that expansion may add, increasing.
        rarity: (30522,) the factor of a query's own words.
    """

    stems: Array
    columns: Array
    rarity: Array


class Saturation(NamedTuple):
    """The shape of BM25, for the weight of a document's own words. Source: Robertson and Zaragoza 2009, section 3.4.

    Args:
        k1: how soon repetition stops counting.
        b: how much length counts, 0..1.
        average: the length that counts as average, in words.
    """

    k1: float = 1.2
    b: float = 0.75
    average: float = 80.0


SATURATION = Saturation()
REACH = 0.5
"""An occurrence of a word counts between 1 - REACH and 1 + REACH, depending on what it does in its text."""


def hybrid_graph(
    shape: BertShape,
    body: Mapping[str, Array],
    head: Mapping[str, Array],
    lexicon: Lexicon,
    *,
    saturation: Saturation = SATURATION,
    int8: bool = False,
) -> onnx.ModelProto:
    """Build the graph.

    Args:
        shape: the transformer's shape.
        body: its weights, as transformers names them.
        head: name -> trained weight. For expansion: `decoder` (columns, hidden), `transform` (2 * hidden, hidden),
            `transform_bias`, `norm_gain`, `norm_bias` (hidden,), `bias` (columns,), `expansion_scale` (). For own
            words, query first and document second: `gate_in` (2, 2 * hidden, inner), `gate_in_bias`,
            `gate` (2, inner), `gate_bias`, `lexical_scale` (2,).
        lexicon: the vocabulary's lexicon.
        saturation: the saturation of a document's own words.
        int8: store and multiply in eight bits.
    """
    made = Builder(Graph(), int8, {})
    last, middle = transformer(made, shape, body)
    dense = mean_pooling(made.graph, last)
    sparse = _sparse(made, middle, last, head, lexicon, saturation)
    batch = ("batch", "length")
    model: onnx.ModelProto = made.graph.model(
        {"input_ids": batch, "attention_mask": batch, "side": ()},
        {
            "sparse": (sparse, ("batch", len(lexicon.stems))),
            "dense": (dense, ("batch", body["embeddings.word_embeddings.weight"].shape[1])),
        },
    )
    return model


class Builder(NamedTuple):
    """A graph under construction, whether its matrices are int8, and the values that were quantised already."""

    graph: Graph
    int8: bool
    quantised: dict[str, tuple[str, str]]

    def ints(self, *values: int) -> str:
        return self.graph.weight(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.graph.weight(np.array(value, dtype=np.float32))

    def times(self, value: str, kernel: Array, bias: Array | None = None) -> str:
        """Add `value @ kernel + bias`, kernel (in, out); return the result's name."""
        graph = self.graph
        if not self.int8:
            product = graph.add("MatMul", value, graph.weight(kernel))
            return product if bias is None else graph.add("Add", product, graph.weight(bias))
        scale = np.maximum(np.abs(kernel).max(axis=0), 1e-12) / _LEVELS
        whole = np.rint(kernel / scale).astype(np.int8)
        rows, row_scale = self._quantise(value)
        names = [rows, graph.weight(whole), self.number(1.0), graph.weight(scale.astype(np.float32))]
        zeros = [graph.weight(np.array([_MIDDLE], dtype=np.uint8)), graph.weight(np.zeros(1, dtype=np.int8))]
        product = graph.add("MatMulIntegerToFloat", *names, *zeros, domain=_FUSED)
        product = graph.add("Mul", product, row_scale)
        return product if bias is None else graph.add("Add", product, graph.weight(bias))

    def _quantise(self, value: str) -> tuple[str, str]:
        """Return the value as uint8 around 128, and the factor of each row; computed once per value."""
        if value not in self.quantised:
            graph = self.graph
            top = graph.add("ReduceMax", graph.add("Abs", value), axes=[-1], keepdims=1)
            scale = graph.add("Add", graph.add("Mul", top, self.number(1 / 127)), self.number(1e-9))
            # The cast cuts off: half is added to round.
            whole = graph.add(
                "Cast", graph.add("Add", graph.add("Div", value, scale), self.number(_MIDDLE + 0.5)), to=_UINT8
            )
            self.quantised[value] = (whole, scale)
        return self.quantised[value]

    def rows(self, table: Array, places: str) -> str:
        """Add a Gather of rows of a table; return the result's name."""
        graph = self.graph
        if not self.int8:
            return graph.add("Gather", graph.weight(table), places)
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12) / _EMBEDDING_LEVELS
        whole = graph.add("Gather", graph.weight(np.rint(table / scale).astype(np.int8)), places)
        scales = graph.add("Gather", graph.weight(scale.astype(np.float32)), places)
        return graph.add("Mul", graph.add("Cast", whole, to=_FLOAT), scales)


def transformer(made: Builder, shape: BertShape, weights: Mapping[str, Array]) -> tuple[str, str]:
    """Add the transformer; return its last hidden states and its middle layer's, both (batch, length, hidden)."""
    graph = made.graph
    words = made.rows(weights["embeddings.word_embeddings.weight"], "input_ids")
    table = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    length = graph.add("Slice", graph.add("Shape", "input_ids"), made.ints(1), made.ints(2))
    places = graph.add("Slice", graph.weight(table), made.ints(0), length, made.ints(0))
    norm = [graph.weight(weights[f"embeddings.LayerNorm.{part}"]) for part in ("weight", "bias")]
    hidden = graph.add("LayerNormalization", graph.add("Add", words, places), *norm, axis=-1, epsilon=shape.epsilon)
    mask = graph.add("Cast", "attention_mask", to=_INT32)
    layers = []
    for number in range(shape.layers):
        hidden = _layer(made, shape, weights, f"encoder.layer.{number}.", hidden, mask)
        layers.append(hidden)
    return layers[-1], layers[shape.layers // 2 - 1]


def _layer(made: Builder, shape: BertShape, weights: Mapping[str, Array], at: str, hidden: str, mask: str) -> str:
    graph = made.graph

    def linear(part: str, value: str) -> str:
        return made.times(value, weights[f"{at}{part}.weight"].T, weights[f"{at}{part}.bias"])

    def norm(part: str, value: str, residual: str) -> str:
        gain, shift = (graph.weight(weights[f"{at}{part}.LayerNorm.{kind}"]) for kind in ("weight", "bias"))
        names = (value, residual, gain, shift)
        return graph.add("SkipLayerNormalization", *names, domain=_FUSED, epsilon=shape.epsilon)

    three = [linear(f"attention.self.{part}", hidden) for part in ("query", "key", "value")]
    attended = graph.add("MultiHeadAttention", *three, "", mask, domain=_FUSED, num_heads=shape.heads)
    hidden = norm("attention.output", linear("attention.output.dense", attended), hidden)
    lifted = graph.add("Gelu", linear("intermediate.dense", hidden), domain=_FUSED)
    return norm("output", linear("output.dense", lifted), hidden)


def _sparse(
    made: Builder, middle: str, last: str, head: Mapping[str, Array], lexicon: Lexicon, saturation: Saturation
) -> str:
    """Add the sum of own words and expansion: (batch, vocabulary)."""
    graph = made.graph
    features = graph.add("Concat", middle, last, axis=-1)
    inside = _inside(made)
    own = _own_words(made, features, inside, head, lexicon, saturation)
    added = _expansion(made, features, inside, head)
    batch = graph.add("Slice", graph.add("Shape", own), made.ints(0), made.ints(1))
    rows = graph.add("Concat", batch, made.ints(1), axis=0)
    columns = graph.add("Expand", graph.weight(lexicon.columns.astype(np.int64)[None]), rows)
    return graph.add("ScatterElements", own, columns, added, axis=1, reduction="add")


def _inside(made: Builder) -> str:
    """Add 1.0 for every token of the text itself, 0.0 for [CLS], [SEP] and padding: (batch, length)."""
    graph = made.graph
    # The closing [SEP] is where the mask ends: a token is inside where the next one is attended too.
    ahead = graph.add("Slice", "attention_mask", made.ints(1), made.ints(1 << 30), made.ints(1))
    ahead = graph.add("Pad", ahead, made.ints(0, 0, 0, 1))
    body = graph.add("Slice", ahead, made.ints(1), made.ints(1 << 30), made.ints(1))
    inside = graph.add("Pad", body, made.ints(0, 1, 0, 0))
    return graph.add("Cast", inside, to=_FLOAT)


def _own_words(
    made: Builder, features: str, inside: str, head: Mapping[str, Array], lexicon: Lexicon, saturation: Saturation
) -> str:
    """Add the weights of the text's own words: how often, how much each counts there, and BM25's saturation."""
    graph = made.graph

    def mine(name: str) -> str:
        """Add the query's or the document's half of a weight, chosen by `side`."""
        return graph.add("Gather", graph.weight(np.asarray(head[name], dtype=np.float32)), "side", axis=0)

    lifted = graph.add("Add", graph.add("MatMul", features, mine("gate_in")), mine("gate_in_bias"))
    gate = graph.add("Unsqueeze", mine("gate"), made.ints(1))
    logit = graph.add("Squeeze", graph.add("MatMul", graph.add("Gelu", lifted, domain=_FUSED), gate), made.ints(2))
    logit = graph.add("Add", logit, mine("gate_bias"))
    stems = graph.add("Gather", graph.weight(lexicon.stems.astype(np.int64)), "input_ids")
    known = graph.add("Cast", graph.add("GreaterOrEqual", stems, made.ints(0)), to=_FLOAT)
    known = graph.add("Mul", known, inside)
    gates = graph.add("Mul", graph.add("Sigmoid", logit), made.number(2 * REACH))
    counts = graph.add("Mul", graph.add("Add", gates, made.number(1 - REACH)), known)
    batch = graph.add("Slice", graph.add("Shape", "input_ids"), made.ints(0), made.ints(1))
    empty = graph.add("Expand", made.number(0.0), graph.add("Concat", batch, made.ints(len(lexicon.stems)), axis=0))
    places = graph.add("Max", stems, made.ints(0))
    found = graph.add("ScatterElements", empty, places, counts, axis=1, reduction="add")
    length = graph.add("ReduceSum", known, made.ints(1), keepdims=1)
    k1, b, average = saturation
    middling = graph.add("Mul", length, made.number(k1 * b / average))
    below = graph.add("Add", graph.add("Add", found, middling), made.number(k1 * (1 - b)))
    saturated = graph.add("Div", graph.add("Mul", found, made.number(k1 + 1)), below)
    plain = graph.add("Mul", found, graph.weight(lexicon.rarity.astype(np.float32)))
    chosen = graph.add("Where", graph.add("Cast", "side", to=_BOOL), saturated, plain)
    return graph.add("Mul", chosen, mine("lexical_scale"))


def _expansion(made: Builder, features: str, inside: str, head: Mapping[str, Array]) -> str:
    """Add log(1 + relu(max over tokens of the decoded features)), scaled; 0 for documents: (batch, columns).

    Of a document only one token is decoded, and multiplied by 0: decoding is expensive, and documents are not expanded.
    """
    graph = made.graph

    def weight(name: str) -> str:
        return graph.weight(np.asarray(head[name], dtype=np.float32))

    upto = graph.add("Unsqueeze", graph.add("Gather", made.ints(1 << 30, 1), "side"), made.ints(0))
    some = graph.add("Slice", features, made.ints(0), upto, made.ints(1))
    seen = graph.add("Slice", inside, made.ints(0), upto, made.ints(1))
    lifted = graph.add("Add", graph.add("MatMul", some, weight("transform")), weight("transform_bias"))
    lifted = graph.add("Gelu", lifted, domain=_FUSED)
    norm = (weight("norm_gain"), weight("norm_bias"))
    normed = graph.add("LayerNormalization", lifted, *norm, axis=-1, epsilon=1e-5)
    logits = made.times(normed, np.asarray(head["decoder"]).T)
    # [CLS], [SEP] and padding must not win the maximum.
    away = graph.add("Mul", graph.add("Sub", seen, made.number(1.0)), made.number(_OUT_OF_SIGHT))
    far = graph.add("Add", logits, graph.add("Unsqueeze", away, made.ints(2)))
    top = graph.add("ReduceMax", far, axes=[1], keepdims=0)
    top = graph.add("Relu", graph.add("Add", top, weight("bias")))
    query = graph.add("Sub", made.number(1.0), graph.add("Cast", "side", to=_FLOAT))
    scale = graph.add("Mul", query, weight("expansion_scale"))
    return graph.add("Mul", graph.add("Log", graph.add("Add", top, made.number(1.0))), scale)
