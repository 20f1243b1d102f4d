"""Adapters: the whole of a search through the interface that a framework, or a browser, expects.

Above the composers; may import everything below. Each adapter is a module or a package of its own, imports only its own
framework, and needs the extra that its docstring names. Importing this package loads none of them.
"""
