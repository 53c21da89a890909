"""What each command of the machine means in the world: workers begin, payloads run, timers tick, news is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from attrs import define, evolve, field

from pilot_core.agent.jobs import HeldJob
from pilot_core.agent.loop import Loop
from pilot_core.agent.post import Poster
from pilot_core.agent.reporting import Reporting
from pilot_core.agent.sealing import Sealing
from pilot_core.agent.silence import Silence
from pilot_core.agent.warning import Warner
from pilot_core.agent.watching import Watching
from pilot_core.agent.workers import Lane, Workers, answer
from pilot_core.clock import Clock
from pilot_core.config.schema import Budgets, PayloadOptions
from pilot_core.control.job import JobControl
from pilot_core.control.monitor import MonitorControl
from pilot_core.control.payload import PayloadControl
from pilot_core.control.running import Running
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.logs import bound
from pilot_core.io.process import Gone, ProcessEvent
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.agent import Agent
from pilot_core.machine.final import CONCLUDE
from pilot_core.model.files import Leaving, Receipt
from pilot_core.model.job import ACCEPTED, FAILED, Job
from pilot_core.plugins.hooks import Hooks
from pilot_core.spec import jobs as job_hooks
from pilot_core.spec import payload as payload_hooks
from pilot_core.spec.work import Task, Work

RUN = "run"
SPARE_HANDS = 4
"""So many threads are there beside those for monitors, before the first payload may take all that the node has."""

T = TypeVar("T")
log = logging.getLogger(__name__)


@define(eq=False)
class Performer:
    """Performs commands; lives in the loop's thread, and gives to workers what may block."""

    loop: Loop[Agent, e.Event, c.Command]
    poster: Poster
    clock: Clock
    hooks: Hooks
    works: Mapping[str, Work]
    jobs: JobControl
    payloads: PayloadControl
    monitors: MonitorControl
    take_back: Callable[[HeldJob], None]
    ask: Callable[[c.Ask, CancelFlag], e.Answered]
    check: Callable[[], e.Checked]
    silence: Silence
    budgets: Budgets
    died: PilotError | None = None
    held: dict[str, HeldJob] = field(factory=dict)
    workers: Workers = field(init=False)
    reporting: Reporting = field(init=False)
    sealing: Sealing = field(init=False)
    warner: Warner = field(init=False)
    watching: Watching = field(init=False)
    news: Lane = field(factory=lambda: Lane("news"))
    exit_error: PilotError | None = None
    records: list[Path] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.hooks.hands.prepare(len(self.monitors.monitors) + SPARE_HANDS)
        self.workers = Workers(self.loop.soon, self.hooks.hands)
        self.sealing = Sealing(self.loop, self.workers)
        self.watching = Watching(self.loop, self.workers, self.monitors, self.poster.post, self.clock)
        self.warner = Warner(self.loop, self.workers, self.hooks, self.poster.post)
        self.reporting = Reporting(
            *(self.jobs, self.loop, self.poster, self.clock),
            within=self.within,
            busy=self.workers.busy,
            held=self.held,
            budget_s=self.budgets.report_s,
            soften=self.warner.soften,
            silence=self.silence,
        )

    def __call__(self, command: c.Command) -> None:
        """Perform one command; what goes wrong with a job's is that job's alone."""
        perform = partial(PERFORM[type(command)], self, command)
        job = getattr(command, "job", None)
        if job is None:
            perform()
        else:
            ticket = command.ticket if isinstance(command, c.Begin) else None
            self.alone(job.id if isinstance(job, Job) else job, perform, ticket)

    def alone(self, job: str, do: Callable[[], None], ticket: int | None = None) -> None:
        """Do something for one job: a defect fails that piece of its work, or else the job, and nothing more."""
        failed = answer(do)
        if isinstance(failed, PilotError):
            log.error("job %s: %s", job, failed)
            if ticket is None:
                self.poster.post(e.StopAsked(job=job, error=failed))
            else:
                self.poster.post(e.WorkFailed(job=job, ticket=ticket, error=failed))

    def within(
        self,
        budget_s: float,
        key: Hashable,
        name: str,
        work: Callable[[], T],
        end: Callable[[T | PilotError], None],
    ) -> None:
        """Begin a piece of work that belongs to no step; when its budget is over, it has failed."""
        timer = f"late/{key}"

        def come_home(answered: T | PilotError) -> None:
            self.loop.drop(timer)
            end(answered)

        def leave_behind() -> None:
            where = self.workers.abandon(key)
            told = f"{name} was left behind in {where}: it had {budget_s:g} s"
            log.error("%s", told)
            end(PilotError(Code.EXCEEDEDMAXWAITTIME, told))

        self.loop.after(timer, budget_s, leave_behind)
        self.workers.begin(key, name, work, come_home)

    # --- work ---

    def begin(self, order: c.Begin) -> None:
        """Begin a piece of work, in a worker or, for the payload, with its keeper."""
        held = self.held[order.job.id]
        if order.work == CONCLUDE:
            held.to_report = None
        if order.work == RUN:
            self._run(held, order)
            return
        cancel = held.cancels[order.ticket] = CancelFlag()
        task = Task(
            job=order.job,
            queue=held.queue,
            settings=held.settings,
            workdir=held.workdir,
            control=held.control,
            cancel=cancel,
            stored=partial(self._stored, order.job),
            leaving=partial(self._leaving, order.job),
            budget_s=order.budget_s,
            resumed=order.resumed,
        )
        after = held.updated if order.work == CONCLUDE else None
        work = partial(self._conclude_after, after, task) if after else partial(self._do, order.work, task)
        self._work(held, order, work)

    def _do(self, work: str, task: Task) -> e.Result:
        with bound(job=task.job.id):
            if work == CONCLUDE:
                self.poster.sync(task.job.id)
            return self.works[work](task)

    def _conclude_after(self, updated: Event, task: Task) -> e.Result:
        """The final update is written at once and sent last: one under way has half of its time to end before."""
        with bound(job=task.job.id):
            self.jobs.write_final(task)
            if not updated.wait((task.budget_s or self.budgets.report_s) / 2):
                log.warning("job %s: the final update does not wait any longer for one that hangs", task.job.id)
        if task.cancel.is_set():
            raise PilotError(Code.EXCEEDEDMAXWAITTIME, "the final update's time was over before it was sent")
        return self._do(CONCLUDE, task)

    def _work(self, held: HeldJob, order: c.Begin, work: Callable[[], e.Result]) -> None:
        """Have a worker do it and write its end: so the loop hears at once of an end that is written already."""

        def live() -> None:
            came = answer(work)
            if order.ticket in held.cancels:  # or else it was left behind
                self._write_end(order, came)

        self.workers.begin((order.job.id, order.ticket), f"{order.work}/{order.job.id}", live, lambda _: None)

    def _write_end(self, order: c.Begin, came: e.Result | PilotError) -> None:
        job, ticket = order.job.id, order.ticket
        if isinstance(came, PilotError):
            self.poster.write(e.WorkFailed(job=job, ticket=ticket, error=came))
            return
        if order.work == CONCLUDE:
            self.loop.soon(self.silence.end)
        self.alone(job, partial(self.poster.write, e.WorkDone(job=job, ticket=ticket, result=came)), ticket)

    def _stored(self, job: Job, receipt: Receipt) -> None:
        self.poster.write(e.FileStored(job=job.id, receipt=receipt))

    def _leaving(self, job: Job, files: Sequence[Leaving]) -> None:
        self.poster.write(e.FilesLeaving(job=job.id, files=tuple(files)))
        self.poster.sync(job.id)

    def cancel(self, order: c.Cancel) -> None:
        """Ask a piece of work to end early."""
        held = self.held[order.job]
        if order.work == RUN and held.run is not None:
            held.run.cancel(order.grace_s)
        elif order.ticket in held.cancels:
            held.cancels[order.ticket].set()

    def abandon(self, order: c.Abandon) -> None:
        """Leave a piece of work behind, naming the place where it hangs."""
        held = self.held[order.job]
        if order.ticket in held.cancels:
            held.cancels.pop(order.ticket).set()
        where = self.workers.abandon((order.job, order.ticket))
        log.error("job %s: %s was left behind%s", order.job, order.work, f" in {where}" if where else "")

    # --- the payload ---

    def _run(self, held: HeldJob, order: c.Begin) -> None:
        later = partial(self.loop.after, f"{held.id}/side")
        held.run = Running(order.job, order.ticket, held.processes, self.poster.post, self.clock, later)
        plan = self.payloads.plan(order.job, held.workdir, held.settings)
        if order.resumed:
            assert self.died is not None
            held.run.resume(plan, held.control, self.died, held.settings.of(PayloadOptions).adopt)
        else:
            held.run.begin(plan)

    def read(self, held: HeldJob) -> None:
        """Read what the keeper says of a job; from one that talks nonsense nothing more is heard."""
        assert held.processes is not None
        events = answer(held.processes.read)
        if isinstance(events, PilotError):
            self.poster.post(e.StopAsked(job=held.id, error=events))
            events = (Gone(),)
        for event in events:
            self.alone(held.id, partial(self.hear, held, event))

    def hear(self, held: HeldJob, event: ProcessEvent) -> None:
        """Take news of a job's processes."""
        if held.run is not None:
            held.run.hear(event, held.control)
        if isinstance(event, Gone):
            self._hear_no_more(held)

    def _hear_no_more(self, held: HeldJob) -> None:
        if held.processes is not None:
            self.take_back(held)
            held.processes.close()
            held.processes = None

    def watch(self, order: c.Watch) -> None:
        """Let monitors look from now on."""
        held = self.held[order.job.id]
        pid = int(str(order.job.notes.get("pid", 0)))
        self.sealing.begin(held)
        if self.hooks.listens(payload_hooks.pilot_payload_started):
            self.news.put(partial(self.hooks.tell, payload_hooks.pilot_payload_started, job=order.job, pid=pid))
        limit_s = min((limit for limit in (order.job.wall_limit_s, held.queue.wall_limit_s) if limit), default=None)
        self.watching.begin(held, order.job, pid, limit_s)
        self.warner.begin(held, order.job, pid, limit_s, self.clock.now())

    def unwatch(self, order: c.Unwatch) -> None:
        """The payload has ended."""
        self.warner.end(order.job)
        self.sealing.end(order.job)
        self.watching.end(self.held[order.job])

    # --- reports and news ---

    def tell(self, order: c.Tell) -> None:
        """Let observers know of a job's new phase."""
        failed = f": {order.job.error}" if order.phase == FAILED else ""
        log.log(logging.WARNING if failed else logging.INFO, "job %s: %s%s", order.job.id, order.phase, failed)
        if order.phase == ACCEPTED:
            self.hooks.unbench()
        if self.hooks.listens(job_hooks.pilot_job_phase):
            self.news.put(partial(self.hooks.tell, job_hooks.pilot_job_phase, job=order.job, phase=order.phase))

    def say(self, order: c.Say) -> None:
        """Tell the operator."""
        log.warning("%s", order.text)

    # --- timers, events, the pilot's own ---

    def set_timer(self, order: c.SetTimer) -> None:
        """Post an event later."""
        self.loop.after(order.key, order.after_s, partial(self._due, order.event))

    def _due(self, event: e.Event) -> None:
        if isinstance(event, e.WorkExpired) and (where := self.workers.stands((event.job, event.ticket))):
            event = evolve(event, detail=f"it hung in {where}")
        self.poster.post(event)

    def drop_timer(self, order: c.DropTimer) -> None:
        """Forget a timer."""
        self.loop.drop(order.key)

    def post(self, order: c.Post) -> None:
        """Put an event into the box."""
        self.poster.post(order.event)

    def forget(self, order: c.Forget) -> None:
        """Let go of a job that is over."""
        held = self.held.pop(order.job.id)
        self.loop.drop(f"{held.id}/lost")
        self.loop.drop(f"{held.id}/side")
        try:
            if held.processes is not None:
                held.processes.release()
            self._hear_no_more(held)
            held.close()
        finally:
            self.records.append(held.control / "record.json")
            self.poster.end(order.over, order.seal)

    def do_ask(self, order: c.Ask) -> None:
        """Ask for work, in a worker."""
        given_up = CancelFlag()
        ask, end = partial(self.ask, order, given_up), partial(self._answered, given_up)
        self.within(self.budgets.ask_s, "ask", "ask", ask, end)

    def _answered(self, given_up: CancelFlag, answer: e.Answered | PilotError) -> None:
        given_up.set()
        self.poster.post(self.silence.judge(answer))

    def do_check(self, _: c.Check) -> None:
        """Check the node, in a worker."""
        self.within(self.budgets.check_s, "check", "check", self.check, self._checked)

    def _checked(self, answer: e.Checked | PilotError) -> None:
        self.poster.post(e.Checked(problems=(answer,)) if isinstance(answer, PilotError) else answer)

    def exit(self, order: c.Exit) -> None:
        """The pilot is done."""
        self.exit_error = order.error
        self.loop.end()


PERFORM: Mapping[type[c.Command], Callable[[Performer, Any], None]] = {
    c.Begin: Performer.begin,
    c.Cancel: Performer.cancel,
    c.Abandon: Performer.abandon,
    c.Report: lambda performer, order: performer.reporting.report(order.job),
    c.Deliver: lambda performer, order: performer.reporting.deliver(order.path),
    c.Watch: Performer.watch,
    c.Unwatch: Performer.unwatch,
    c.SetTimer: Performer.set_timer,
    c.DropTimer: Performer.drop_timer,
    c.Post: Performer.post,
    c.Tell: Performer.tell,
    c.Forget: Performer.forget,
    c.Ask: Performer.do_ask,
    c.Check: Performer.do_check,
    c.Say: Performer.say,
    c.Exit: Performer.exit,
}
"""The whole of it: what is done for each command."""
