"""Make the model that ships inside the package: `python -m hybrid_search.training.bundled DATA OUT`.

all-MiniLM-L6-v2 stays as it is and gives the dense vector. A head is trained on the states of its middle and last layer
and gives the sparse vector: words of the text, weighted by how rare they are and what they do there, plus words that
the text does not have. The transformer is frozen, so its states are computed once, and a step costs only the head.

Modules, in reading order: `data` (files -> texts), `vocabulary` (wordpieces -> word classes), `states` (texts -> what
the transformer makes of them), `head` (the trained part), `teach` (states -> a trained head), `graph` (transformer and
head -> ONNX), `ship` (all of it in a row). May import what the room `training` may.
"""
