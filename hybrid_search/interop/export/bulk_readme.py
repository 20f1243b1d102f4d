"""The shell commands that load bulk files and search: a load that was cut short goes on when it is run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybrid_search.interop.export.bulk import QUERIES
from hybrid_search.interop.export.job import ExportJob

JSON = "-H 'Content-Type: application/json'"
LINES = "-H 'Content-Type: application/x-ndjson'"


def load_commands(job: ExportJob, before: Sequence[str] = ()) -> str:
    """Return the part of the page that makes the index and loads it.

    Args:
        job: the export.
        before: commands that the engine needs first.
    """
    first = "".join(f"{line}\n" for line in before)
    return f"""
## Load

Set `INDEX` to the URL of the index to make, and run this in this folder. A file that was loaded gets a note beside it,
`FILE.loaded`: run the same again to go on after an error.

```sh
INDEX=${{INDEX:-http://localhost:9200/{job.source.collection.lower()}}}
{first}if [ ! -e mapping.loaded ]; then
  curl -sS --fail-with-body -X PUT "$INDEX" {JSON} --data-binary @mapping.json || exit 1
  touch mapping.loaded
fi
send() {{ curl -sS --fail-with-body {LINES} --data-binary "@$1" "$INDEX/_bulk?filter_path=errors,items.*.error"; }}
for file in bulk-*.ndjson; do
  [ -e "$file.loaded" ] && continue
  answer=$(send "$file") || {{ echo "$file: $answer" >&2; exit 1; }}
  case "$answer" in
    *'"errors":false'*) touch "$file.loaded" ;;
    *) echo "$file: $answer" | cut -c -2000 >&2; exit 1 ;;
  esac
done
curl -sS -X POST "$INDEX/_refresh" && curl -sS "$INDEX/_count"
```

The engine answers 200 where some documents failed, and says `"errors":true`: the loop stops there. The count must be
**{job.statistics.chunks:,}**. To send less, compress:

```sh
send() {{ gzip -c "$1" | curl -sS --fail-with-body -H 'Content-Encoding: gzip' {LINES} --data-binary @- \\
  "$INDEX/_bulk?filter_path=errors,items.*.error"; }}
```
"""


def search_commands(tag: str, more: Mapping[str, str]) -> str:
    """Return the part of the page that runs the queries.

    Args:
        tag: of the run.
        more: other files of requests, with what they ask for.
    """
    others = "".join(f"\n- `{file}`: {what}" for file, what in more.items())
    listed = f"\nOther requests for the same queries:\n{others}\n" if more else ""
    return f"""
## Search

Each line of `{QUERIES}` is a query's id and the whole request. This writes a run as `trec_eval` reads it:

```sh
while IFS= read -r line; do
  printf '%s' "$line" | jq -c .body | curl -sS --fail-with-body -X POST "$INDEX/_search" {JSON} --data-binary @- |
    jq -r --arg q "$(printf '%s' "$line" | jq -r ._id)" '.hits.hits | to_entries[] |
      "\\($q) Q0 \\(.value._id) \\(.key + 1) \\(.value._score) {tag}"' || exit 1
done < {QUERIES} > run.trec
```

    hybrid-search evaluate DATASET --from-run run.trec
{listed}"""
