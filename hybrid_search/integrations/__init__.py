"""The whole of hybrid search through the interfaces that others' pipelines expect.

Each module here serves one framework and imports only that one, when it is itself imported; importing this package
loads none. They stand above the composers and may use everything below. What all of them make of an answer is said
once, in `common`.
"""
