"""Checkpoints are whole or do not count, whatever is done to them."""

from __future__ import annotations

import pytest

from hybrid_search.training import checkpoints


def write(folder, step, content=b"weights"):
    made = folder / f"checkpoint-{step}"
    (made / "1_Part").mkdir(parents=True)
    (made / "model.bin").write_bytes(content)
    (made / "1_Part" / "config.json").write_text("{}")
    return made


def sealed(folder, step):
    made = write(folder, step)
    checkpoints.seal(made)
    return made


def test_the_newest_by_number_is_the_last(tmp_path):
    assert checkpoints.last_whole(tmp_path) is None
    for step in (10, 9, 100):
        sealed(tmp_path, step)
    assert checkpoints.last_whole(tmp_path).name == "checkpoint-100"
    assert checkpoints.step_of(tmp_path / "checkpoint-100") == 100


@pytest.mark.parametrize("harm", ["cut", "gone", "changed", "more", "unsealed", "bad seal"])
def test_a_harmed_one_is_passed_over(tmp_path, harm):
    good, bad = sealed(tmp_path, 1), sealed(tmp_path, 2)
    file = bad / "model.bin"
    if harm == "cut":
        file.write_bytes(b"weig")
    elif harm == "changed":
        file.write_bytes(b"wEights")
    elif harm == "gone":
        file.unlink()
    elif harm == "more":
        (bad / "other.bin").write_bytes(b"")
    elif harm == "unsealed":
        (bad / checkpoints.SEAL).unlink()
    else:
        (bad / checkpoints.SEAL).write_text("{")
    assert not checkpoints.is_whole(bad)
    assert checkpoints.last_whole(tmp_path) == good
    checkpoints.drop_halves(tmp_path)
    assert not bad.exists()
    assert good.exists()


def test_old_ones_go_only_behind_sealed_ones(tmp_path):
    for step in (1, 2, 3):
        sealed(tmp_path, step)
    write(tmp_path, 4)
    checkpoints.prune(tmp_path)
    assert [path.name for path in checkpoints.all_in(tmp_path)] == ["checkpoint-4", "checkpoint-3", "checkpoint-2"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    place = tmp_path / "best"
    with checkpoints.replacing(place) as new:
        (new / "a").write_text("1")
    with pytest.raises(RuntimeError), checkpoints.replacing(place) as new:  # noqa: PT012
        (new / "a").write_text("2")
        raise RuntimeError
    assert (place / "a").read_text() == "1"
    with checkpoints.replacing(place) as new:
        (new / "b").write_text("3")
    assert sorted(path.name for path in place.iterdir()) == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
