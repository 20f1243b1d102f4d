"""The engine in this process: a collection is a folder of generations, written by one and read by many."""
