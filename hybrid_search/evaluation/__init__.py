"""How good the rankings are: runs against judgements, by the field's own measures. Needs the [eval] extra."""
