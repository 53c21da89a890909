import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pilot_core.io.journal as journal_module
from pilot_core.io.box import Box
from pilot_core.io.journal import Journal, JournalError, JournalWriter, line_of, read_back

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(max_size=8), json_values, max_size=4)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


@contextmanager
def no_larger_file_than(size_b):
    """What a full disk is to a file: it can't grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_b, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def told(path, *records):
    """A journal with these records, open."""
    journal = Journal.create(path, reserve_b=4096)
    for record in records:
        journal.append(record)
    return journal


@given(told_records=st.lists(records, max_size=6), sealed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory, told_records, sealed):
    path = tmp_path_factory.mktemp("j") / "journal"
    journal = told(path, *told_records)
    if sealed:
        journal.seal()
    story = read_back(path)
    journal.close()
    assert (list(story.records), story.sealed, story.damage_b) == (told_records, sealed, 0)


def test_a_journal_is_its_owner_s_and_holds_its_reserve(path):
    told(path).close()
    about = path.stat()
    assert about.st_mode & 0o777 == 0o600
    assert about.st_size == 4096
    assert about.st_blocks * 512 >= 4096


def test_a_sealed_one_gives_the_reserve_back_and_takes_nothing_more(path):
    journal = told(path, {"a": 1})
    journal.seal({"end": 2})
    assert path.read_bytes().endswith(b' "sealed"\n')
    assert read_back(path).records == ({"a": 1}, {"end": 2})
    with pytest.raises(OSError, match="Bad file descriptor"):
        journal.append({"b": 3})
    with pytest.raises(JournalError, match="sealed"):
        Journal.reopen(path)


def test_a_record_that_looks_like_the_seal_is_none(path):
    told(path, {"sealed": True}, {"format": 99}).close()
    story = read_back(path)
    assert story.records == ({"sealed": True}, {"format": 99})
    assert not story.sealed


def test_an_existing_file_is_neither_taken_nor_harmed(path):
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        Journal.create(path)
    assert path.read_text() == "mine"


def test_a_link_is_not_followed(path, tmp_path):
    told(tmp_path / "real").close()
    path.symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="symbolic links"):
        read_back(path)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_tells_a_true_beginning(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("j") / "journal"
    whole = [{"n": number, "text": "x" * (number % 7)} for number in range(8)]
    told(path, *whole).close()
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good.rstrip(b"\0")) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=4))
    kind = data.draw(st.sampled_from(["cut", "overwritten", "zeroed"]))
    if kind == "cut":
        path.write_bytes(good[:at])
    elif kind == "overwritten":
        path.write_bytes(good[:at] + damage + good[at + len(damage) :])
    else:
        path.write_bytes(good[:at] + bytes(len(good) - at))
    try:
        story = read_back(path)
    except JournalError:
        assert at < len(line_of({"format": 1}))
        return
    assert list(story.records) == whole[: len(story.records)]
    if path.read_bytes() != good and kind != "zeroed":
        pairs = zip(good, path.read_bytes(), strict=False)
        first = next((number for number, (was, is_now) in enumerate(pairs) if was != is_now), at)
        assert len(story.records) == 8 or story.end_b <= first
    if kind == "overwritten" and len(story.records) < 8:
        assert story.damage_b > 0


@pytest.mark.parametrize("torn", [b"", b"0", b'12345678 {"a"', b'00000000 {"a":1}\n', b"\0\0\0late", b"\n", b"x" * 200])
def test_what_a_crash_tore_is_counted_and_the_journal_goes_on(path, torn):
    journal = told(path, {"a": 1})
    end_b = read_back(path).end_b
    os.pwrite(journal._fd, torn, end_b)
    journal.close()
    again, story = Journal.reopen(path)
    assert (story.records, story.damage_b, story.gap) == (({"a": 1},), len(torn), False)
    again.append({"b": 2})
    again.close()
    story = read_back(path)
    assert (story.records, story.damage_b) == (({"a": 1}, {"b": 2}), 0)


@pytest.mark.parametrize("number", [1, 2])
def test_damage_that_lines_follow_is_no_torn_end_and_nobody_goes_on_behind_it(path, number):
    """Found: the story seemed to end before the damage, and what followed was overwritten."""
    told(path, {"a": 1}, {"b": 2}, {"c": 3}).close()
    lines = path.read_bytes().rstrip(b"\0").splitlines(keepends=True)
    lines[number] = b"x" + lines[number][1:]
    path.write_bytes(b"".join(lines) + bytes(100))
    before = path.read_bytes()
    story = read_back(path)
    assert story.gap
    assert len(story.records) == number - 1
    with pytest.raises(JournalError, match=f"journal: is damaged at byte {story.end_b}, and"):
        Journal.reopen(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", bytes(4096)])
def test_one_that_was_never_begun_is_empty_and_can_be_begun(path, content):
    path.write_bytes(content)
    assert read_back(path).records == ()
    journal, _ = Journal.reopen(path)
    journal.append({"a": 1})
    journal.close()
    assert read_back(path).records == ({"a": 1},)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PanDA\n", "does not begin"),
        (line_of({"a": 1}), "does not begin"),
        (line_of({"format": "1"}), "does not begin"),
        (line_of({"format": 2}), "format 2, newer than this pilot's 1"),
        (line_of({"format": 0}), "format 0, too old"),
    ],
)
def test_what_is_no_journal_of_ours_is_refused_by_name(path, content, why):
    path.write_bytes(content)
    for read in (read_back, Journal.reopen):
        with pytest.raises(JournalError, match=why) as caught:
            read(path)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_the_format_before_is_read(path, monkeypatch):
    told(path, {"a": 1}).close()
    monkeypatch.setattr(journal_module, "FORMAT", 2)
    assert read_back(path).records == ({"a": 1},)


def journal_takes(journal, record):
    try:
        journal.append(record)
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.ENOSPC):
            raise
        return False
    return True


def test_a_full_disk_does_not_stop_it_while_the_reserve_lasts(path):
    journal = told(path)
    with no_larger_file_than(4096):
        written = 0
        while journal_takes(journal, {"n": written}):
            written += 1
    journal.close()
    assert written * len(line_of({"n": 100})) > 3500
    assert list(read_back(path).records) == [{"n": number} for number in range(written)]


def test_the_reserve_is_renewed_ahead_and_not_every_time(path, monkeypatch):
    asked = []
    allocate = os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda *where: asked.append(where) or allocate(*where))
    journal = told(path)
    for _ in range(200):
        journal.append({"text": "x" * 100})
        assert path.stat().st_size - read_back(path).end_b >= 2048
    journal.close()
    assert 2 < len(asked) < 20


def test_without_room_for_the_reserve_nothing_is_left_behind(path):
    with no_larger_file_than(1000), pytest.raises(OSError, match="File too large"):
        Journal.create(path)
    assert not path.exists()


def test_where_room_cannot_be_allocated_it_is_written(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    journal = told(path)
    for number in range(300):
        journal.append({"n": number})
    journal.close()
    assert len(read_back(path).records) == 300
    assert path.stat().st_size > 4096


WRITES_FOR_EVER = """
import sys
from pathlib import Path
from pilot_core.io.journal import Journal
journal = Journal.create(Path(sys.argv[1]))
number = 0
while True:
    journal.append({"n": number, "text": "x" * (number % 500)})
    print(number, flush=True)
    number += 1
"""


def test_what_was_appended_survives_kill_9(path):
    child = subprocess.Popen([sys.executable, "-c", WRITES_FOR_EVER, path], stdout=subprocess.PIPE, env=with_core())
    for line in child.stdout:
        if int(line) > 500:
            break
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split(b"\n")
    child.stdout.close()
    child.wait()
    said = max([int(line)] + [int(number) for number in rest[:-1]])
    numbers = [record["n"] for record in read_back(path).records]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > said


def with_core():
    return {
        **os.environ,
        "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.dirname(journal_module.__file__))),
    }


class Desk:
    """A writer with its box, and the journals that it lost."""

    def __init__(self, folder):
        self.folder = folder
        self.box = Box()
        self.lost = []
        self.writer = JournalWriter(self.box, lambda journal, error: self.lost.append((journal, error.errno)))

    def journal(self, name):
        return Journal.create(self.folder / name, reserve_b=4096)

    def heard(self, count):
        events = []
        while len(events) < count:
            more = self.box.wait(10)
            assert more
            events += more
        return events

    def close(self):
        assert self.writer.close(10)
        self.box.close()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=40))
@settings(max_examples=20, deadline=None)
def test_events_come_in_the_order_submitted_and_are_written_by_then(tmp_path_factory, steps):
    desk = Desk(tmp_path_factory.mktemp("j"))
    journals = [desk.journal(str(number)) for number in range(3)]
    for number, (which, here) in enumerate(steps):
        have = desk.writer.write if here else desk.writer.submit
        have(journals[which], {"n": number}, number)
    assert desk.heard(len(steps)) == list(range(len(steps)))
    for which, journal in enumerate(journals):
        of_this = [{"n": number} for number, (whose, _) in enumerate(steps) if whose == which]
        assert list(read_back(journal.path).records) == of_this
        journal.close()
    desk.close()


def test_who_may_wait_writes_what_waits_and_is_heard_when_it_returns(desk, monkeypatch):
    """Nobody else need be woken for that."""
    journal, writers = desk.journal("a"), []
    write = Journal.write
    monkeypatch.setattr(Journal, "write", lambda *of: writers.append(threading.current_thread()) or write(*of))
    assert desk.writer.write(journal, {"a": 1}, "event")
    assert desk.box.wait(0) == ["event"]
    assert writers == [threading.current_thread()]
    assert read_back(journal.path).records == ({"a": 1},)


def test_who_may_wait_does_so_no_longer_than_told_and_the_event_comes_all_the_same(desk, monkeypatch):
    journal, go, begun = desk.journal("a"), threading.Event(), threading.Event()
    write = Journal.write

    def slow_write(self, lines):
        begun.set()
        assert go.wait(10)
        write(self, lines)

    monkeypatch.setattr(Journal, "write", slow_write)
    desk.writer.submit(journal, {"a": 1}, "first")
    assert begun.wait(10)
    assert not desk.writer.write(journal, {"b": 1}, "second", timeout_s=0.01)
    go.set()
    assert desk.writer.flush(10)
    assert desk.heard(2) == ["first", "second"]
    assert read_back(journal.path).records == ({"a": 1}, {"b": 1})


def test_others_are_written_while_one_is_synced(desk, monkeypatch):
    journal, other = desk.journal("a"), desk.journal("b")
    begun, go = threading.Event(), threading.Event()
    monkeypatch.setattr(Journal, "sync", lambda self: begun.set() or go.wait(10))
    syncing = threading.Thread(target=desk.writer.sync, args=[journal])
    syncing.start()
    assert begun.wait(10)
    assert desk.writer.write(other, {"b": 1}, "event", timeout_s=10)
    go.set()
    syncing.join(10)
    assert not syncing.is_alive()


def test_an_event_is_not_heard_before_its_record_is_written(desk, monkeypatch):
    journal = desk.journal("a")
    go = threading.Event()
    write = Journal.write

    def slow_write(self, lines):
        assert go.wait(10)
        write(self, lines)

    monkeypatch.setattr(Journal, "write", slow_write)
    desk.writer.submit(journal, {"a": 1}, "event")
    assert desk.box.wait(0.05) == []
    assert not desk.writer.flush(0.01)
    go.set()
    assert desk.heard(1) == ["event"]


def test_records_that_wait_are_written_together(desk, monkeypatch):
    journal, other = desk.journal("a"), desk.journal("b")
    go, begun, calls = threading.Event(), threading.Event(), []

    def write(self, lines):
        calls.append((self.path.name, lines.count(b"\n")))
        begun.set()
        assert go.wait(10)

    monkeypatch.setattr(Journal, "write", write)
    desk.writer.submit(journal, {}, 0)
    assert begun.wait(10)
    for number in range(1, 10):
        desk.writer.submit(other if number % 3 == 0 else journal, {}, number)
    go.set()
    assert desk.heard(10) == list(range(10))
    assert calls == [("a", 1), ("a", 6), ("b", 3)]


def test_a_lost_journal_is_told_once_and_its_events_go_on(desk):
    journal, other = desk.journal("a"), desk.journal("b")
    with no_larger_file_than(4096):
        for number in range(20):
            desk.writer.submit(journal, {"text": "x" * 500}, number)
            desk.writer.submit(other, {"n": number}, -number)
        assert desk.writer.flush(10)
    desk.writer.submit(journal, {"small": 1}, "after")
    assert desk.heard(41)[-1] == "after"
    assert desk.lost == [(journal, errno.EFBIG)]
    assert journal.lost.errno == errno.EFBIG
    assert len(read_back(other.path).records) == 20


def test_an_error_of_another_kind_loses_one_journal_and_not_the_writer(desk, monkeypatch):
    """Found: what ``fdatasync`` says of a closed file is a ``ValueError``, which ended the thread."""
    journal, other = desk.journal("a"), desk.journal("b")
    monkeypatch.setattr(journal, "_fd", -1)
    monkeypatch.setattr(Journal, "closed", property(lambda self: False))
    monkeypatch.setattr(Journal, "write", lambda self, lines: None if self is journal else _write(self, lines))
    desk.writer.submit(journal, {"a": 1}, "first")
    desk.writer.sync(journal)
    desk.writer.submit(other, {"b": 1}, "second")
    assert desk.heard(2) == ["first", "second"]
    assert desk.lost == [(journal, errno.EBADF)]
    assert read_back(other.path).records == ({"b": 1},)


_write = Journal.write


def test_one_that_is_left_is_whole_and_can_be_gone_on_with(desk):
    journal = desk.journal("a")
    desk.writer.submit(journal, {"a": 1}, "first")
    desk.writer.leave(journal, "end")
    desk.writer.submit(journal, {"late": 1}, "late")
    assert desk.heard(3) == ["first", "end", "late"]
    assert journal.closed
    again, story = Journal.reopen(journal.path)
    again.close()
    assert (story.records, story.sealed) == (({"a": 1},), False)
    assert desk.lost == []


def test_sealed_through_the_writer_and_late_events_are_posted(desk):
    journal = desk.journal("a")
    desk.writer.submit(journal, {"a": 1}, "first")
    desk.writer.seal(journal, {"end": 1}, "end")
    assert desk.writer.flush(10)
    desk.writer.submit(journal, {"late": 1}, "late")
    assert desk.heard(3) == ["first", "end", "late"]
    story = read_back(journal.path)
    assert (story.records, story.sealed) == (({"a": 1}, {"end": 1}), True)
    assert desk.lost == []


def test_what_json_cannot_say_fails_where_it_is_submitted(desk):
    journal = desk.journal("a")
    with pytest.raises(TypeError):
        desk.writer.submit(journal, {"a": object()}, "event")
    desk.writer.submit(journal, {"b": 1}, "next")
    assert desk.heard(1) == ["next"]


def test_a_record_is_as_it_was_when_submitted(desk):
    journal, record = desk.journal("a"), {"a": 1}
    desk.writer.submit(journal, record, "event")
    record["a"] = 2
    assert desk.heard(1) == ["event"]
    assert read_back(journal.path).records == ({"a": 1},)


def test_a_closed_writer_has_written_all_and_posts_what_comes_late(tmp_path):
    desk = Desk(tmp_path)
    journal = desk.journal("a")
    for number in range(100):
        desk.writer.submit(journal, {"n": number}, number)
    assert desk.writer.close(10)
    assert len(read_back(journal.path).records) == 100
    desk.writer.submit(journal, {"late": 1}, "late")
    assert desk.writer.flush(1)
    assert desk.heard(101)[-1] == "late"
    desk.close()


def test_a_disk_that_hangs_does_not_hang_the_end(tmp_path, monkeypatch):
    desk = Desk(tmp_path)
    journal = desk.journal("a")
    go = threading.Event()
    monkeypatch.setattr(Journal, "write", lambda *_: go.wait(10))
    desk.writer.submit(journal, {}, "event")
    assert not desk.writer.close(0.05)
    go.set()
    desk.close()
