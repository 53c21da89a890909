"""The way of events into the loop when a journal is lost on the way."""

from __future__ import annotations

from pilot_core.agent.post import Poster
from pilot_core.clock import SystemClock
from pilot_core.io.box import Box
from pilot_core.io.journal import Journal, read_back
from pilot_core.machine import events as e


class Growing(dict):
    """Journals of which one more comes just when somebody looks through them."""

    def items(self):
        for number, item in enumerate(super().items()):
            self[f"new{number}"] = None
            yield item


def post_two(tmp_path, monkeypatch, disturb):
    """What the loop sees of two jobs if the journal of the first is lost, and what the second's keeps."""
    box = Box()
    poster = Poster(box, SystemClock())
    lost, good = Journal.create(tmp_path / "lost"), Journal.create(tmp_path / "good")
    poster.keep("1", lost)
    poster.keep("2", good)
    disturb(poster)
    lost.close()
    monkeypatch.setattr(Journal, "closed", property(lambda self: False))
    poster.post(e.PayloadStarted(job="1", ticket=1, pid=1))
    poster.post(e.PayloadStarted(job="2", ticket=1, pid=2))
    assert poster.flush(10)
    assert poster.flush(10)
    came = box.wait(10)
    assert poster.close(10)
    box.close()
    return [(type(event), event.job) for event in came], read_back(good.path).records


def test_a_lost_journal_is_told_while_other_jobs_come_in(tmp_path, monkeypatch):
    """Found: a job that came in just then ended the writer's thread."""

    def disturb(poster):
        poster._journals = Growing(poster._journals)

    came, written = post_two(tmp_path, monkeypatch, disturb)
    assert (e.JournalLost, "1") in came
    assert (e.PayloadStarted, "1") in came
    assert (e.PayloadStarted, "2") in came
    assert len(written) == 1


def test_a_loss_that_cannot_be_told_does_not_end_the_writer(tmp_path, monkeypatch):
    def disturb(poster):
        def fail(event):
            if isinstance(event, e.JournalLost):
                raise RuntimeError("a defect")
            post(event)

        post, poster.post = poster.post, fail

    came, written = post_two(tmp_path, monkeypatch, disturb)
    assert came == [(e.PayloadStarted, "1"), (e.PayloadStarted, "2")]
    assert len(written) == 1
