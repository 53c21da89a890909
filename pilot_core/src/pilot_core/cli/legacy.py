"""The table of the older pilot's command line: what each option is here, and why those do nothing that do nothing.

The manual and ``pilot run --help-older`` are written from it. ``older`` reads a line by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from pilot_core.cli.mistakes import Usage

YES: Final = ("yes", "true", "t", "y", "1")
NO: Final = ("no", "false", "f", "n", "0")
WORKFLOWS: Final = {
    "generic": "standard",
    "generic_hpc": "hpc",
    "eventservice_hpc": "hpc",
    "stager": "stagein",
    "payload_stageout": "payload_stageout",
}
SHIPPED: Final = "logserver="


@frozen(kw_only=True)
class Older:
    """One option: its names, the word for its value if it has one, and what it is here."""

    names: tuple[str, ...]
    takes: str = ""
    key: str = ""
    """The setting that it is, if it is just that."""
    value: str = ""
    """What it sets, where it takes no value itself."""
    read: Callable[[str], str] = str
    does: str = ""
    """What it does, where no setting says so; what is different, where something is."""

    @property
    def name(self) -> str:
        """The long one."""
        return self.names[-1]

    @property
    def obsolete(self) -> bool:
        """Whether it is accepted and does nothing."""
        return not self.key and self.does.startswith("nothing")


def truth(word: str) -> str:
    """Yes or no, in any of the older pilot's words for them."""
    if word.lower() not in (*YES, *NO):
        raise ValueError(f"{word!r} is not yes or no")
    return "true" if word.lower() in YES else "false"


def workflow(word: str) -> str:
    """What does here what that workflow did; any other name is that of a workflow here."""
    return WORKFLOWS.get(word, word)


def resource_type(word: str) -> str:
    """One that the older pilot takes."""
    if word and not word.startswith(("SCORE", "MCORE")):
        raise ValueError(f"{word!r} is not SCORE, MCORE or a longer word that begins so")
    return word


def number(word: str) -> str:
    """A whole number, from 0 on."""
    if not word.isdecimal():
        raise ValueError(f"{word!r} is no whole number")
    return word


TABLE: Final = (
    Older(names=("--pilot-user",), takes="NAME", key="bootstrap.experiment", read=str.lower),
    Older(names=("-q", "--queue"), takes="QUEUE", key="pilot.queue"),
    Older(
        names=("-a", "--workdir"),
        takes="DIR",
        does="work in a new directory PanDA_Pilot3_PID_EPOCH below DIR. It stays when the pilot ends, with all that "
        "`pilot recover` may need; without -a the pilot works where it is started, as before",
    ),
    Older(names=("--cleanup",), takes="BOOL", key="pilot.cleanup", read=truth, does="of jobs that are reported only"),
    Older(names=("-i", "--versiontag"), takes="TAG", key="panda.version_tag", does="TAG and -j choose the label"),
    Older(
        names=("-z", "--noserverupdate"),
        does="take jobs from a file alone: pandaJobData.out in --harvester-datadir, or else where the pilot starts; "
        "HPCJobs.json in --harvester-workdir, or in $HARVESTER_WORKDIR. What a server would be told is in "
        "heartbeat.json and in the jobs' records. Without such a file the line is refused, as nobody would hear of a "
        "job's end",
    ),
    Older(names=("--no-pilot-log",), does="nothing: pilotlog.txt is what wrappers look at"),
    Older(names=("-d", "--debug"), key="log.level", value="debug"),
    Older(names=("--redirect-stdout",), takes="FILE", does="write output, errors and log lines to FILE"),
    Older(
        names=("-j", "--joblabel"),
        takes="LABEL",
        key="panda.label",
        does="without -j it is `panda.label`, not ptest; `self` asks for jobs by label alone, as the server knows "
        "whose proxy it is",
    ),
    Older(names=("-v", "--getjobrequests"), takes="N", key="pilot.empty_answers", read=number),
    Older(names=("-x", "--getjobfailures"), takes="N", key="pilot.failed_answers", read=number, does="N in a row"),
    Older(names=("--country-group",), takes="GROUP", does="nothing: servers no longer look at it"),
    Older(names=("--working-group",), takes="GROUP", does="nothing: servers no longer look at it"),
    Older(names=("--allow-other-country",), takes="BOOL", read=truth, does="nothing: servers no longer look at it"),
    Older(
        names=("--allow-same-user",),
        takes="BOOL",
        key="panda.same_task",
        read=truth,
        does="true on such a line unless it says otherwise, as before",
    ),
    Older(names=("--job-type",), takes="TYPE", key="panda.job_type"),
    Older(
        names=("-w", "--workflow"),
        takes="NAME",
        key="pilot.workflow",
        read=workflow,
        does="generic is `standard`, stager is `stagein`, generic_hpc and eventservice_hpc are `hpc`. production and "
        "analysis never did anything, and are refused",
    ),
    Older(names=("-l", "--lifetime"), takes="S", key="pilot.lifetime_s", does="the shortest of S and maxtime counts"),
    Older(names=("-L", "--leasetime"), takes="S", read=number, does="nothing: `stagein` ends with its jobs"),
    Older(names=("-r", "--resource"), takes="NAME", does="nothing, as before"),
    Older(names=("-s", "--site"), takes="NAME", does="nothing, as before"),
    Older(names=("--resource-type",), takes="TYPE", key="panda.resource_type", read=resource_type),
    Older(names=("-b", "--nocvmfs"), does="take work where CVMFS is not mounted, too, as `NO_CVMFS_OK=1`"),
    Older(names=("--stageout-attempts",), takes="N", key="data.attempts", read=number, does="of inputs as well"),
    Older(names=("--harvester-workdir",), takes="DIR", does="see -z"),
    Older(names=("--harvester-datadir",), takes="DIR", does="see -z"),
    Older(names=("--harvester-eventstatusdump",), takes="FILE", does="nothing: it only told of a Harvester"),
    Older(names=("--harvester-workerattributes",), takes="FILE", does="nothing: it only told of a Harvester"),
    Older(
        names=("--harvester-submit-mode",),
        takes="MODE",
        does="with PUSH, -x 5 is 12; and in the worker of a Harvester, jobs come from a file alone (see -z), which is "
        "waited for: half an hour, see `panda.jobs_file_s`. A file that is there at the start comes before the "
        "server's jobs in any mode",
    ),
    Older(names=("--input-dir",), takes="DIR", does="nothing: inputs come from where their replicas are; see `local`"),
    Older(names=("--input-destination-dir",), takes="DIR", key="data.cache", does="`stagein` leaves inputs there"),
    Older(names=("--output-dir",), takes="DIR", key="data.output_dir"),
    Older(names=("--hpc-resource",), takes="NAME", does="nothing: the facility is found out; see `pilot.resource`"),
    Older(names=("--hpc-mode",), takes="MODE", does="nothing, as before"),
    Older(names=("--es-executor-type",), takes="TYPE", does="nothing: the job and its payload say how events are run"),
    Older(names=("--pod",), key="pilot.resource", value="auto", does="the pod tells its limits"),
    Older(names=("-t", "--noproxyverification"), does="nothing: a proxy is watched only by the monitor `credentials`"),
    Older(names=("-u", "--verifypayloadproxy"), does="nothing: a proxy is watched only by the monitor `credentials`"),
    Older(names=("-y", "--notokenrenewal"), key="panda.renew", value="false"),
    Older(names=("--cacert",), takes="FILE", key="connection.proxy", does="the proxy to show, in spite of its name"),
    Older(names=("--capath",), takes="DIR", key="connection.ca_path"),
    Older(
        names=("--url",),
        takes="URL",
        key="connection.url",
        does="https unless it says otherwise; without it the experiment or the site says which server",
    ),
    Older(names=("-p", "--port"), takes="N", read=number, does="the port of --url where that has none; else 25443"),
    Older(
        names=("--queuedata-url",),
        takes="URL",
        key="queue_environment.queues",
        does="`{pandaqueue}` as before; a host without https is asked only where `connection.plain_http` names it",
    ),
    Older(names=("--storagedata-url",), takes="URL", key="queue_environment.storages"),
    Older(names=("-k", "--noworkerpilotstatusupdate"), key="panda.worker_status", value="false"),
    Older(
        names=("--subscribe-to-msgsvc",),
        does="nothing: the broker is used where `panda.broker` names one",
    ),
    Older(names=("--use-https",), takes="BOOL", read=truth, does="nothing: the scheme of --url says it"),
    Older(names=("-g", "--baseurls"), takes="URL,...", does="the same as the variable `PANDA_BASE_URLS`"),
    Older(
        names=("--use-realtime-logging",),
        does="needs --realtime-logging-server, or `log.shippers` and the shipper's address in the site's file",
    ),
    Older(
        names=("--realtime-logging-server",),
        takes="logserver=TYPE;URL",
        does="the log shipper TYPE (logstash or loki) with that address; with TYPE:HOST:PORT, https. Anything else is "
        "refused instead of forgotten",
    ),
    Older(names=("--realtime-logname",), takes="NAME", does="nothing: a record tells its pilot and job"),
    Older(names=("--use-rucio-traces",), takes="BOOL", key="rucio.traces", read=truth),
    Older(names=("--rucio-host",), takes="URL", key="rucio.host"),
)
"""Every option of the older pilot, in its order."""

BESIDES: Final = (
    ("`HARVESTER_PILOT_CONFIG`", "a complete INI file", "not read: `--config`, a YAML file with what the site wants"),
    ("`PANDAPILOT_LIFETIME`", "instead of -l, if it is a number", "the same, on a line with the older pilot's options"),
    ("`PILOT_NOKILL`", "no orphans are killed", "not read: only the job's own processes are ever ended"),
    ("standard output", "the log", "the answer at the end; the log is on standard error and in `pilotlog.txt`"),
    ("`pilotlog.txt`", "begun anew for each job", "one for the whole pilot; written at least once a minute"),
    ("`pilot_heartbeat.json`", "every 60 s", "the same, with the same keys"),
    ("`pandaIDs.out`", "below `pilot3/`, or in `$PANDA_PILOT_SOURCE`", "there; where there is no `pilot3/`, beside it"),
    ("`pilot_kill_payload`", "ends the payload after a minute", "ends it at the next look of the monitors"),
    (
        "`pandaJobData.out`, `HPCJobs.json`",
        "the first job, then deleted",
        "all jobs; renamed to `.taken.ID`, with -z it stays",
    ),
    ("`PanDA_Pilot-ID/`", "left after a signal", "removed when the job is reported; `PanDA_Pilot-ID.control/` stays"),
    ("exit code on SIGINT", "137", "130"),
    ("exit code at the end of the lifetime", "0", "81"),
    ("exit code where there is no job", "0 after six minutes", "82 at once; wrappers make 0 of it"),
    ("exit code after a final update that was not taken", "0, and the result is lost", "79, and the result waits"),
    ("a failed stage-in, a looping job", "1", "0: the job failed, not the pilot"),
    ("SIGTERM", "ends after 144 s or more", "ends within `pilot.stop_s`, 25 s"),
    ("SIGUSR2, SIGHUP", "die", "an orderly end, as with SIGTERM"),
    ("names of options", "may be shortened", "are written in full; a wrong one is answered with the nearest"),
)
"""What else is different: what, in the older pilot, here."""

BY_NAME: Final[Mapping[str, Older]] = {name: row for row in TABLE for name in row.names}


def refuse(row: Older, why: object) -> Usage:
    """What is wrong with the value of an option."""
    return Usage(f"{row.name}: {why}", "run --help-older")
