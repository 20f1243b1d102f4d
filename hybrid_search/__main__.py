"""`python -m hybrid_search`: the command line, where its script is not on the path."""

from hybrid_search.cli.app import main

main()
