"""`hybrid-search tui`: search as you type, on the whole screen. Textual is imported in this room alone.

`command` is the verb, and loads the rest when it runs; `app` has the keys, `panes` and `dialogs` the parts of the
screen. What is asked is a frozen value (`asked`), one thread answers the last one (`worker`), and what is drawn are
plain functions of an answer (`lines`, `charts`). So typing never waits for a search, and an answer to what is no longer
asked is dropped.
"""
