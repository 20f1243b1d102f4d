"""A collection on its way to other engines: one format a module, and what they share.

In reading order: `source` (the collection), `queries`, `quantization`, `escaping`, `folder` (files and how far they
came), `job` (one export), `verify` (whether the rankings survived), the formats, `formats` (their list), `run`.
"""
