"""ONNX graphs made of models' own: pooling taken into the graph, products in eight bits; kept in the cache folder."""
