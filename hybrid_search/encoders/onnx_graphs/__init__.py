"""Derive the ONNX graphs that run from the models' own: pooling fused into the graph, products in int8 or fp16.

A derived graph is made once and kept in the cache folder.

Modules, in reading order: `artifacts` (what a graph is at each step), `cache` (the door: `get_or_build`), `weights`
(graphs without their weights), `build`, `edit`, `pooling`, `int8`, `fp16`, `shared_weights` (one file for many
processes). May import what the room `encoders` may, and its `hashing`.
"""
