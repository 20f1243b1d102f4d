"""The recipe of the model that ships inside the package: `python -m hybrid_search.training.bundled DATA OUT`.

all-MiniLM-L6-v2 stays as it is and gives the dense vector. On the states of its middle and last layer a head is trained
that gives the sparse one: words that stand in the text, weighed by how rare they are and what they do there, plus words
that the text does not have. The transformer being frozen, its states are computed
once, and a step costs the head alone.

data: files -> texts. vocabulary: wordpieces -> word classes. states: texts -> what the transformer makes of them.
head: the trained part. teach: states -> a trained head. graph: transformer and head -> ONNX. ship: all of it in a row.
"""
