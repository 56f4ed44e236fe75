"""Atomic writing: whole or not at all, and nothing left behind."""

import os
import stat
import threading

import pytest

from bitwright.problems import InputError
from bitwright.problems.formats.atomic import write_atomic, write_atomic_with


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


def only(file):
    return [p.name for p in file.parent.iterdir()] == [file.name]


def test_the_new_content_replaces_the_old(file):
    """Text is written as UTF-8, bytes as they are; folders on the way are made."""
    write_atomic(file, "µ\r\n")
    assert file.read_bytes() == "µ\r\n".encode()
    write_atomic(str(file), b"\xff")
    assert file.read_bytes() == b"\xff"
    assert only(file)
    write_atomic(file.parent / "a" / "b" / "c.json", "new")
    assert (file.parent / "a" / "b" / "c.json").read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_the_old_file(file, error):
    """Whatever goes wrong half-way, the old file stays, no temporary one does, and the error passes."""

    def write(stream):
        stream.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_atomic_with(file, write)
    assert file.read_text() == "old"
    assert only(file)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("no number")])
def test_a_full_disk_is_one_line(file, error):
    """The operating system's reason is told, and the old file stays."""

    def write(stream):
        raise error

    reason = error.strerror or str(error)
    with pytest.raises(InputError, match=rf"result\.json: cannot be written: {reason}$"):
        write_atomic_with(file, write)
    assert file.read_text() == "old"
    assert only(file)


def test_the_old_file_is_there_until_the_new_one_is_whole(file):
    """While the writer works, readers see the old content."""
    write_atomic_with(file, lambda stream: stream.write(file.read_bytes() + b" and new"))
    assert file.read_text() == "old and new"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(file, umask):
    """A result is as readable as any other new file."""
    before = os.umask(umask)
    try:
        write_atomic(file, "new")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask


def test_places_that_cannot_be_written_are_refused(file):
    """A folder in the file's place, and a file in the folder's, are named."""
    (file.parent / "folder.json").mkdir()
    for path in (file.parent / "folder.json", file / "x.json"):
        with pytest.raises(InputError, match=rf"{path.name}: cannot be written: "):
            write_atomic(path, "new")
    assert file.read_text() == "old"
    assert sorted(p.name for p in file.parent.iterdir()) == ["folder.json", "result.json"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(file):
    """The reason is the operating system's."""
    file.parent.chmod(0o500)
    try:
        with pytest.raises(InputError, match="cannot be written: Permission denied"):
            write_atomic(file, "new")
    finally:
        file.parent.chmod(0o700)


def test_text_that_utf8_cannot_hold_is_refused(file):
    """Half a surrogate pair is an error of one line, and the old file stays."""
    with pytest.raises(InputError, match=r"result\.json: cannot be written as UTF-8: surrogates"):
        write_atomic(file, "\ud800")
    assert file.read_text() == "old"


def test_writers_at_the_same_time_do_not_mix(file):
    """The last one wins; the file is one of the contents, whole."""
    contents = [letter * 100_000 for letter in "abcdef"]
    threads = [threading.Thread(target=write_atomic, args=(file, c)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() in contents
    assert only(file)
