"""Trains sparse encoders on the user's own data: sources in, a model folder that `--sparse PATH` takes out.

    sources -> examples -> (mined negatives) -> (teacher scores) -> training steps -> model -> ONNX folder and report

`examples.py` holds the values that travel this road. `data.py` reads sources into them (`rows.py`: one row; `split.py`:
which queries are held out), `mining.py` adds hard negatives from a collection, `teachers.py` adds scores to learn from;
each takes examples and gives examples, so any of them can be left out. The rest turns them into a model.

May import the composers and all below them, and torch, but that only inside functions: importing this room loads
nothing heavy. Models and searchers arrive as arguments.

Two decisions. A held-out query is a text, not an id: one that is asked twice, under two ids or with another capital
letter, is never on both sides. And chance is a function of the seed and the item (`draw`), not of the order in which
items come, so a run repeats on every machine and more data does not reshuffle what was there.
"""
