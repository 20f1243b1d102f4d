"""Train sparse encoders on the user's own data: sources in, a model folder that `--sparse PATH` takes out.

    sources -> examples -> (mined negatives) -> (teacher scores) -> training steps -> model -> ONNX folder and report

Words: an example is a query with a text that answers it and texts that do not; a hard negative is a text that ranks
high and is no answer; a teacher is a model whose scores are learned from; a recipe is every setting that decides the
outcome; a base is the model to start from; its head maps token states to the vocabulary.

Modules, in reading order:

- the values: `examples`, `recipe`;
- the data: `data` with `records` (one row) and `holdout` (queries held out), `mining` (hard negatives from a
  collection), `teachers` (scores), `augment` (runs both and keeps the result);
- the model: `models`, `mlm_head`, `pooling`, `losses`, `batches`;
- the training: `trainer`, `callbacks`, `checkpoints`, `evaluation`;
- the result: `graphs` (ONNX), `export`, `report`, `svg_chart`, `card`; `train` runs everything;
- `bundled/`: the recipe of the model that ships in the package.

May import the composers, `evaluation` and all below them, and torch, but torch only inside functions: importing this
room loads nothing heavy. Models and searchers arrive as arguments.

Two decisions. A held-out query is a text, not an id: a query that is asked twice, under two ids or with another capital
letter, is never on both sides. And chance is a function of the seed and the item (`draw`), not of the order of items,
so a run repeats on every machine and more data does not reshuffle what was there.
"""
