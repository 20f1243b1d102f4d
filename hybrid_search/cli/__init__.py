"""The command line: the only room that prints or exits.

A command reads its options, makes one call into the library, and renders what comes back. Results go to stdout,
everything else to stderr. Nothing heavy is imported before a command needs it, so `--help` is quick.
"""
