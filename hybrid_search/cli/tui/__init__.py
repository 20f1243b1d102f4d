"""`hybrid-search tui`: search as you type, on the whole screen. Textual is imported in this room alone.

`command` is the command, and loads the rest when it runs; `app` has the keys, `panes` and `dialogs` the parts of the
screen. What is asked for is a frozen value (`state`), one thread answers the last one (`search_thread`), and what is
drawn are plain functions of an answer (`format`, `charts`). So typing never waits for a search, and an answer to what
is no longer asked for is dropped.
"""
