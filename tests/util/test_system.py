"""Files, logs and time: what every room has from the system."""

import logging
import os
import threading
import warnings
from datetime import datetime, timedelta, timezone

import pytest

from hybrid_search._util import atomic_write, cpu_count, quiet_loggers, quiet_warnings, utc_now


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("data", [b"", b"one\r\n", [b"one", b"", b"two"], (b"one", b"two")], ids=repr)
def test_a_file_is_written_whole(tmp_path, data, durable):
    wanted = data if isinstance(data, bytes) else b"".join(data)
    (tmp_path / "file.json").write_bytes(b"before, and longer")
    atomic_write(tmp_path / "file.json", data, durable=durable)
    assert (tmp_path / "file.json").read_bytes() == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize("fault", [OSError("no space left"), KeyboardInterrupt(), ValueError("odd")], ids=repr)
def test_a_write_that_fails_changes_nothing_and_leaves_nothing(tmp_path, fault):
    def parts():
        yield b"half"
        raise fault

    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(type(fault)):
        atomic_write(tmp_path / "file", parts())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"before"}


def test_a_folder_that_is_gone_is_not_made_again(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "gone" / "file", b"x")
    assert not (tmp_path / "gone").exists()


def test_readers_and_writers_at_once_see_whole_files(tmp_path):
    file, wrong = tmp_path / "file", []
    contents = [bytes([sign]) * 50_000 for sign in b"abcd"]
    atomic_write(file, contents[0])

    def write(content):
        for _ in range(20):
            atomic_write(file, content)

    def read():
        wrong.extend(found for _ in range(50) if (found := file.read_bytes()) not in contents)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents] + [
        threading.Thread(target=read)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes of this kind")
def test_others_may_read_what_the_umask_lets_them(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    atomic_write(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_loggers_are_quiet_inside_and_as_before_after_an_error(caplog):
    one, two = logging.getLogger("quiet.one"), logging.getLogger("quiet.two")
    one.setLevel(logging.DEBUG)

    def speak():
        with quiet_loggers("quiet.one", "quiet.two"):
            one.warning("unheard")
            two.error("heard")
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        speak()
    assert caplog.messages == ["heard"]
    assert (one.level, two.level) == (logging.DEBUG, logging.NOTSET)
    with quiet_loggers("quiet.two", level=logging.CRITICAL):
        two.error("unheard")
    assert caplog.messages == ["heard"]


def test_warnings_are_ignored_inside_alone():
    with quiet_warnings():
        warnings.warn("unheard", stacklevel=1)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_the_time_is_utc_to_the_second():
    said = datetime.fromisoformat(utc_now())
    assert said.utcoffset() == timedelta(0)
    assert said.microsecond == 0
    assert abs(datetime.now(timezone.utc) - said) < timedelta(seconds=30)


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= cpu_count() <= os.cpu_count()
