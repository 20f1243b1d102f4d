"""Read files into documents, cut documents into chunks, and read and write TREC and BEIR files.

Everything streams, so memory does not grow with the corpus. A broken document is a `Failure` in the stream, and the
others go on. A source that cannot be read at all is a `CorpusError` before the first document.

Words: a source is what a user names; a `FoundFile` is a file of it; a record is a JSON object or a table's row; markup
is what a text is written in (plain, Markdown, or the language of code).

Modules, in reading order:

- which files: `walk`, `unknown_files` and `roots` (ids); `ledger` (ids met in this run);
- reading: `readers` (the door), `bounded` (the process that reads), `reading`, `piped`;
- records: `fields`, `jsonl`, `tabular`, `csv_rows`, `columns`;
- texts: `decoding`, `guessing`, `text`, `front_matter`, `headings`, `embedded`, `mail`, `code`;
- conversion (extra `documents`): `documents`, `conversion`, `parts`, `pdf`, `word`, `web_page`, `web_markdown`,
  `web_encoding`, `notebook`;
- chunks: `chunking`, `contexts`, `packing`;
- evaluation files: `trec`.

May import `protocols`, `types`, `errors` and `_util` only.
"""
