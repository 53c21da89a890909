"""A whole pilot: put together, run until it is done, taken apart."""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define

from pilot_core.agent import control as orders
from pilot_core.agent.drive import drive
from pilot_core.agent.ending import Ending
from pilot_core.agent.greeting import greet, take_leave
from pilot_core.agent.inherit import Inheritance, inherit
from pilot_core.agent.intake import Intake
from pilot_core.agent.jobs import HeldJob
from pilot_core.agent.lifetime import Lifetime
from pilot_core.agent.loop import Call, Loop
from pilot_core.agent.payloads import payload_control
from pilot_core.agent.perform import Performer
from pilot_core.agent.post import Poster
from pilot_core.agent.reclaim import Reclaim
from pilot_core.agent.recover import RECORD, how_it_died
from pilot_core.agent.refresh import Refresh
from pilot_core.agent.setup import Setup, make, make_all
from pilot_core.agent.shipping import Shipping
from pilot_core.agent.signals import DUMP_STACKS, HALTS, as_event
from pilot_core.agent.silence import Silence
from pilot_core.agent.status import status_of
from pilot_core.agent.workers import Lane, answer
from pilot_core.clock import Clock, SystemClock
from pilot_core.config.schema import Budgets, LogOptions, PilotOptions, ReportOptions, SlotOptions
from pilot_core.control.archive import Archive
from pilot_core.control.data import DataControl
from pilot_core.control.job import JobControl
from pilot_core.control.monitor import MonitorControl, node_problems
from pilot_core.control.outbox import Delivery, deliver_left, deliver_outbox
from pilot_core.control.past import forget_past
from pilot_core.control.payload import PayloadControl
from pilot_core.errors import Code, PilotError
from pilot_core.io.box import Box
from pilot_core.io.files import Lock
from pilot_core.io.process import Starter
from pilot_core.io.process_keeper import KeeperStarter
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.agent import Agent, step
from pilot_core.machine.agent import take_over as resume_with
from pilot_core.machine.pilot import Limits, Mode, Pilot
from pilot_core.model.job import Job
from pilot_core.redact import Redactor
from pilot_core.spec import startup
from pilot_core.spec.drivers import Communicator, Letter, Reply, Resource, Workflow

if TYPE_CHECKING:
    from pilot_core.spec.work import Work

OWN, LOG = "pilot.control", "pilotlog.txt"
NEWS_S = 5.0
WRITER_S = 5.0
log = logging.getLogger(__name__)


def run(
    setup: Setup,
    root: Path,
    starter: Starter,
    *,
    redactor: Redactor,
    recover: bool = False,
    clock: Clock | None = None,
    environ: Mapping[str, str] | None = None,
    last: bool = False,
) -> Ending:
    """Run a pilot in the work directory ``root`` until it is done.

    Jobs that a dead pilot left there come first; with ``recover`` nothing else does. With ``last`` the process is to
    end next, and late signals leave its exit status alone. Raises ``Taken`` if another pilot works there.
    """
    redactor.learn_from(os.environ if environ is None else environ)
    root = root.absolute()
    own = root / OWN
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as leaving:
        leaving.callback(Lock(own / "lock").take().release)
        pilot = Assembly(setup, root, starter, redactor, clock or SystemClock(), recover, environ or os.environ, last)
        workflow: Workflow = make(setup, "workflow")
        pilot.put_together(workflow, leaving)
        drive(lambda run: setup.hooks.guarded(setup.workflow.plugin, "drive", workflow.drive, run), pilot.run)
        return pilot.ending()


@define(eq=False, slots=False)
class Assembly:
    """The parts of one pilot."""

    setup: Setup
    root: Path
    starter: Starter
    redactor: Redactor
    clock: Clock
    recover: bool
    environ: Mapping[str, str]
    last: bool

    @property
    def own(self) -> Path:
        """The pilot's own control directory."""
        return self.root / OWN

    @property
    def options(self) -> PilotOptions:
        """The pilot's own section."""
        return self.setup.settings.of(PilotOptions)

    def put_together(self, workflow: Workflow, leaving: ExitStack) -> None:
        """Make all parts; what is opened is closed through ``leaving``, in reverse order."""
        self.died = how_it_died(self.root)
        self.left: Inheritance = inherit(self.root, self.setup.of_job, self.redactor)
        leaving.callback(self.left.close)
        self.box: Box[e.Event | Call] = Box(self.last)
        leaving.callback(self.box.close)
        self.resource: Resource = make(self.setup, "resource")
        self.slot = self.resource.slot(self.root)
        self.loop: Loop[Agent, e.Event, c.Command] = Loop(self._begin_state(), step, self.box, self.clock)
        self.poster = Poster(self.box, self.clock)
        leaving.callback(self.poster.close, WRITER_S)
        self.lifetime = Lifetime(self.setup, self.resource, self.clock, self.poster, self.loop)
        self.performer = self._performer(workflow)
        leaving.callback(self.data.close)
        leaving.callback(self.performer.workers.close)
        leaving.callback(self._end_news)
        if type(self.jobs.communicator).listen is not Communicator.listen and not self.recover:
            from pilot_core.agent.hearing import listen

            leaving.callback(listen(self.setup, self.performer))
        self._listen(leaving)
        if self.setup.shippers.usable:
            self._ship_log(leaving)

    def _begin_state(self) -> Agent:
        options = self.options
        limits = Limits(
            prefetch_jobs=options.prefetch_jobs,
            one_by_one=options.refill_s is not None,
            max_jobs=options.max_jobs,
            empty_answers=options.empty_answers,
            failed_answers=options.failed_answers,
            black_hole_failures=options.black_hole_failures,
            black_hole_s=options.black_hole_s,
        )
        pilot = Pilot(slot=self.slot, limits=limits, mode=Mode.DRAINING if self.recover else Mode.CHECKING)
        return resume_with(pilot, [course for course, _ in self.left.going_on])

    def _performer(self, workflow: Workflow) -> Performer:
        setup, hooks, budgets = self.setup, self.setup.hooks, self.setup.settings.of(Budgets)
        communicator: Communicator = make(setup, "communicator")
        told = communicator, hooks, setup.settings, lambda: setup.queue
        jobs = self.jobs = JobControl(*told, self.clock, socket.gethostname(), self.redactor)
        payloads = payload_control(setup, self.own, self.environ, self.redactor)
        owners = {usable.name: usable.plugin for usable in setup.copytools.usable}
        tools, names = make_all(setup, "copytools"), setup.copytools.names
        data = self.data = DataControl(hooks, tools, self.redactor, plugins=owners, names=names)
        archive = Archive(hooks, self.redactor, largest_b=setup.settings.of(LogOptions).archive_b)
        parts = setup, self.root, self.starter, self.redactor, self.poster, self.loop, jobs, workflow
        self.intake = Intake(*parts, admit=self._admit, left_s=self.lifetime.left_s)
        return Performer(
            loop=self.loop,
            poster=self.poster,
            clock=self.clock,
            hooks=hooks,
            works=_works(jobs, data, payloads, archive, workflow),
            jobs=jobs,
            payloads=payloads,
            monitors=MonitorControl(setup.monitors.usable, hooks, self.clock, budgets.look_s),
            take_back=self._take_back,
            ask=self.intake.ask,
            check=self._check,
            silence=Silence(self.clock, self.options.ask_again_s, self.poster.post),
            budgets=budgets,
            died=self.died,
        )

    # --- the way in ---

    def _listen(self, leaving: ExitStack) -> None:
        """Signals, orders, and the keeper's watch over this very loop."""
        hurry_s = self.options.stop_s
        self.box.watch_signals(HALTS, partial(self._signalled, hurry_s))
        door = orders.ControlSocket(self.own, self._obey)
        leaving.callback(door.close)
        if door.listener is not None:
            self.box.lend(door.listener, door.accept)
        else:
            self._look_for_orders(door)
        if isinstance(self.starter, KeeperStarter):
            self._be_watched(self.starter, leaving)

    def _signalled(self, hurry_s: float, signum: int) -> e.Event:
        event = as_event(signum, hurry_s, self.options.drain_signals)
        log.warning("%s", getattr(event, "error", None) or getattr(event, "why", ""))
        return self.poster.stamp(event)

    def _look_for_orders(self, door: orders.ControlSocket) -> None:
        door.look()
        self.loop.after("orders", 5.0, partial(self._look_for_orders, door))

    def _be_watched(self, keeper: KeeperStarter, leaving: ExitStack) -> None:
        stacks = leaving.enter_context((self.own / "stacks.txt").open("a"))
        faulthandler.register(DUMP_STACKS, file=stacks, all_threads=True, chain=False)
        leaving.callback(faulthandler.unregister, DUMP_STACKS)
        (self.root / RECORD).unlink(missing_ok=True)
        every_s = self.options.watchdog_s / 4
        keeper.watch(every_s, 4, DUMP_STACKS, self.own / "stacks.txt", self.root / RECORD)
        self._ping(keeper, every_s / 2)

    def _ping(self, keeper: KeeperStarter, every_s: float) -> None:
        keeper.ping()
        self.loop.after("ping", every_s, partial(self._ping, keeper, every_s))

    def _obey(self, request: orders.Request) -> orders.Reply:
        match request["order"]:
            case "drain":
                self.poster.post(e.DrainAsked(why="an operator asked"))
            case "pause":
                self.poster.post(e.PauseAsked())
            case "resume":
                self.poster.post(e.ResumeAsked())
            case "stop":
                error = PilotError(Code.SIGTERM, "an operator stopped the pilot")
                self.poster.post(e.HaltAsked(error=error, hurry_s=self.options.stop_s))
        told = partial(
            status_of, queue=self.setup.queue.name, node=self.jobs.node_facts, moves=self.data.under_way.told()
        )
        return told(self.loop.state, self.clock, self._left_behind(), server=self.performer.silence.told())

    def _ship_log(self, leaving: ExitStack) -> None:
        shippers = tuple(zip(self.setup.shippers.usable, make_all(self.setup, "shippers"), strict=True))
        shipping = Shipping(shippers, self.setup.hooks, self.redactor)
        lane = Lane("log shippers")
        leaving.callback(lane.close, NEWS_S)
        leaving.callback(lane.put, shipping.close)
        self._ship_later(lane, shipping)

    def _ship_later(self, lane: Lane, shipping: Shipping) -> None:
        lane.put(shipping.ship)
        self.loop.after("ship", self.setup.settings.of(LogOptions).ship_s, partial(self._ship_later, lane, shipping))

    def run(self) -> None:
        """The standard loop, from the first event to the last."""
        for course, held in self.left.going_on:
            self._resume(course.job, held)
        self.loop.within("start", 0.0 if self.recover else self.options.start_spread_s, self._come_forward)
        self.lifetime.begin(self.performer)
        Reclaim(self.lifetime, self.setup.settings.of(SlotOptions)).begin(self.performer)
        Refresh(self.setup, self.loop, self.clock, self.poster).begin(self.performer)
        if self.options.life_file:
            from pilot_core.agent.living import Living

            Living(self.root / self.options.life_file, self.root / LOG, self.loop, self.clock).begin()
        self.loop.run(self.performer)
        for thread in self._left_behind():
            log.error("left behind: %s", thread)

    def _come_forward(self) -> None:
        """Speak to the server: of what waits of past jobs, of the pilot itself, and then of work."""
        self.performer.within(self.performer.budgets.past_s, "past", "past jobs", self._settle_past, self._settled)
        if not (self.recover or self._past_comes_first):
            self.performer(c.Check())
        self.performer.reporting.renew()
        if not self.recover:
            greet(self.setup, self.root, self.jobs, self.performer)

    def _settle_past(self) -> tuple[Delivery, ...]:
        """Give back what never began, send what waits of jobs that are over, forget those that were over long ago."""
        for left in self.left.unbegun:
            refused = answer(partial(self.intake.refuse_left, left, self.died))
            if isinstance(refused, PilotError):
                self.left.leave(left.control, refused)
        communicator, owner = self.jobs.communicator, self.setup.communicator

        def send(letter: Letter) -> Reply:
            return self.setup.hooks.guarded(owner.plugin, "send", communicator.send, letter)

        senders = {owner.name: send}
        outbox = self.setup.settings.of(ReportOptions).outbox
        delivered = deliver_left(self.root, senders) + (deliver_outbox(outbox, senders) if outbox else [])
        forget_past(self.root, self.options.keep_control_days, self.clock.now())
        return tuple(delivered)

    def _settled(self, settled: tuple[Delivery, ...] | PilotError) -> None:
        self.left.hear(settled)
        if self.recover:
            self.poster.post(e.DrainAsked(why="only what was left is done"))
        elif self._past_comes_first:
            self.performer(c.Check())

    @property
    def _past_comes_first(self) -> bool:
        """Whether something of past jobs is to be settled before this pilot asks for work, or it may end too soon."""
        return bool(self.left.unbegun) or self.setup.settings.of(ReportOptions).outbox is not None

    def _left_behind(self) -> tuple[str, ...]:
        leave = (self.performer.workers, self.setup.hooks, self.performer.monitors)
        return tuple(thread for each in leave for thread in each.left_behind())

    def _resume(self, job: Job, held: HeldJob) -> None:
        log.warning("job %s was left in phase %s: %s", job.id, job.phase, self.died)
        self.jobs.learn_again(held.control)
        self._admit(held)
        self.poster.post(e.Resumed(job=job.id, error=self.died))

    def _admit(self, held: HeldJob) -> None:
        """Take in a job; from now on its processes are heard and its events are written."""
        self.performer.held[held.id] = held
        self.poster.keep(held.id, held.journal)
        if held.processes is not None:
            self.box.lend(held.processes, partial(self._hear, held))

    def _hear(self, held: HeldJob) -> tuple[()]:
        self.performer.read(held)
        return ()

    def _take_back(self, held: HeldJob) -> None:
        if held.processes is not None:
            self.box.take_back(held.processes)

    def _check(self) -> e.Checked:
        setup, problems = self.setup, node_problems(self.root, self.setup.settings)
        answers = setup.hooks.gather(
            startup.pilot_node_check, queue=setup.queue, workdir=self.root, settings=setup.settings
        )
        found = (*problems, *(problem for answer in answers for problem in answer.value))
        if not found:
            facts = {"queue": setup.queue, "slot": self.slot, "settings": setup.settings}
            self.performer.news.put(partial(setup.hooks.tell, startup.pilot_started, **facts))
        return e.Checked(problems=found)

    # --- the way out ---

    def _end_news(self) -> None:
        hooks, error = self.setup.hooks, self.performer.exit_error
        take_leave(self.setup, self.jobs, self.performer)
        self.performer.news.put(partial(hooks.tell, startup.pilot_ended, error=error))
        if not self.performer.news.close(NEWS_S):
            log.error("an observer did not come to its end: %s", ", ".join(map(str, hooks.running().values())))

    def ending(self) -> Ending:
        """What is to be told when the loop has ended; it is also left in the pilot's control directory."""
        pilot = self.loop.state.pilot
        ending = Ending(
            error=self.performer.exit_error,
            finished=pilot.finished,
            failed=pilot.failed,
            left=self._left_behind(),
            records=tuple(self.performer.records),
            remain=tuple(self.left.remain),
            refused=self.left.refused,
        )
        ending.put_down(self.own / "record.json", self.clock.now())
        return ending


def _works(
    jobs: JobControl, data: DataControl, payloads: PayloadControl, archive: Archive, workflow: Workflow
) -> Mapping[str, Work]:
    """The core's works by name, and the workflow's own, which may take their place."""
    return {
        "verify": jobs.verify,
        "stage_in": data.stage_in,
        "fill_cache": data.fill_cache,
        "take_inputs": data.take_inputs,
        "prepare": payloads.prepare,
        "diagnose": payloads.diagnose,
        "stage_out": data.stage_out,
        "archive": archive.archive,
        "store_log": data.store_log,
        **workflow.works(),
        "conclude": jobs.conclude,
        "clean_up": jobs.clean_up,
    }
