"""Out to other tools and in again. Stands above the composers; nothing here encodes anything.

`encodings.py` writes what a collection holds, vectors and all, to a file and fills a collection from one; `layout.py`
says what is in the file, `writer.py` and `reader.py` write and read it. `term_vectors.py` fills a collection from
documents that come with the weights of their terms, whatever format they come in; `import_anserini.py` reads one. May
import the composers and everything below them, not `evaluation` or `training`.
"""
