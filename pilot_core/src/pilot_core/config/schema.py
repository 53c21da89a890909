"""The core's own sections. A plugin's sections look the same and join them by a hook."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.config.options import option


@frozen(kw_only=True)
class Bootstrap:
    """What must be known before any plugin is loaded; never from queue data."""

    section = "bootstrap"

    experiment: str = option("generic", help="The experiment whose plugin answers.", flag="--experiment")
    profile: Path | None = option(
        None, help="An experiment without code: a YAML file that says what its jobs need.", flag="--profile"
    )
    plugins: tuple[str, ...] = option(
        (), help="Load these plugins and no others; none: the core's.", env="PILOT_PLUGINS"
    )
    blocked: tuple[str, ...] = option((), help="Plugins not to load; on the command line: --plugin no:NAME.")
    required: tuple[str, ...] = option((), help="Plugins without which the pilot does not start: NAME or NAME>=N.M.")
    pilotfile: Path | None = option(None, help="The site's own plugin, a Python file.", flag="--pilotfile")


@frozen(kw_only=True)
class Connection:
    """The server, and where facts about the queue come from; of queue data only ``ipv4_only``."""

    section = "connection"

    info_sources: tuple[str, ...] = option(("file",), help="Information sources, the best first.")
    url: tuple[str, ...] = option((), help="The server that has the work, by all its addresses.", flag="--url")
    token: Path | None = option(None, help="The file with the token for that server.", flag="--token-file")
    join: Path | None = option(
        None, help="The file with the join string that the pilot was told of, read again when its token is refused."
    )
    origin: str = option("", help="The organisation and role in whose name the token is shown: VO or VO.ROLE.")
    fingerprint: str = option(
        "", help="The SHA-256 of the server's certificate, where no authority vouches for it.", flag="--fingerprint"
    )
    token_key: Path | None = option(None, help="The file with the key that lets the token be renewed.")
    proxy: Path | None = option(None, help="The file with a proxy, its key and its chain, to show instead of a token.")
    ca_file: Path | None = option(None, help="Authorities that vouch for servers, instead of the system's.")
    ca_path: Path | None = option(None, help="A directory of authorities that vouch for servers, beside the others.")
    plain_http: tuple[str, ...] = option(
        (),
        help="Hosts whose facts may come by plain http, which others may read and change on their way: "
        "HOST, HOST:PORT or *.DOMAIN. No token is shown to them.",
    )
    ipv4_only: bool = option(False, help="Never use IPv6.")
    renewed_dir: Path | None = option(
        None,
        help="Where a renewed token or proxy is kept whose own file is a link, or cannot be replaced; "
        "if not set, with the pilot's own files.",
    )
    cache_dir: Path | None = option(
        None,
        help="Where documents with facts are kept for pilots that come later; if not set, with the pilot's own files.",
    )
    cache_oldest_s: float = option(
        86400.0, help="Where no newer document is to be had, one up to this age will do.", unit="s"
    )


@frozen(kw_only=True)
class PilotOptions:
    """What the pilot is and when it stops."""

    section = "pilot"

    queue: str = option("local", help="The queue to work for.", flag="--queue")
    workflow: str = option("standard", help="The workflow that every job goes through.", flag="--workflow")
    communicator: str = option("filebox", help="Who is asked for jobs and told about them.")
    resource: str = option(
        "node", help="Who tells what the slot or allocation is; with auto, the innermost batch system that is here."
    )
    time_left_again_s: float = option(
        600.0, help="How long the slot lasts is asked again after this time.", unit="s", least=1
    )
    queue_again_s: float = option(
        10800.0,
        help="The facts of the queue are asked for again after this time, for later jobs; 0: never.",
        unit="s",
    )
    lifetime_s: float = option(
        324000.0, help="The pilot ends itself after this time.", unit="s", flag="--lifetime", least=1
    )
    stop_s: float = option(25.0, help="All the time that an orderly stop may take.", unit="s", least=1)
    drain_signals: tuple[str, ...] = option((), help="Signals, such as SIGUSR1, that let the current jobs finish.")
    prefetch_jobs: int = option(1, help="Jobs to bring in while the slot is still full.")
    refill_s: float | None = option(
        None,
        help="After its first job the pilot takes others for so long, one by one; 0: no other; none: as it can.",
        unit="s",
    )
    max_jobs: int | None = option(None, help="End after this many jobs.", flag="--max-jobs", least=1)
    empty_answers: int = option(2, help="End after so many answers in a row without a job.", least=1)
    failed_answers: int = option(5, help="End after so many requests in a row without an answer.", least=1)
    start_spread_s: float = option(
        0.0,
        help="Speak to the server for the first time at some moment within this long, where many pilots start at once.",
        unit="s",
        least=0,
    )
    ask_again_s: float = option(
        60.0,
        help="A request that may have arrived comes again after 1 to 3 times this, any other after a second at first.",
        unit="s",
        least=0.01,
    )
    black_hole_failures: int = option(5, help="Take no more work after so many quick failures in a row; 0: never mind.")
    black_hole_s: float = option(60.0, help="A job that fails sooner than this failed quickly.", unit="s")
    hook_budget_s: float = option(
        120.0, help="A plugin's answer is awaited this long, then left behind.", unit="s", least=0.1
    )
    watchdog_s: float = option(120.0, help="A pilot whose loop stands still this long is ended.", unit="s", least=1)
    life_file: str = option(
        "", help="A file in the work directory that is written once a minute as long as the pilot's loop turns."
    )
    cleanup: bool = option(True, help="Remove a job's directory when all of it is safe.")
    keep_control_days: float = option(7.0, help="Control directories of past jobs are kept this long.")


@frozen(kw_only=True)
class SlotOptions:
    """The slot, where the site knows better than the node tells."""

    section = "slot"

    cores: int | None = option(None, help="Cores that the pilot may use.", least=1)
    memory_b: int | None = option(None, help="Memory that the pilot may use.", unit="b")
    disk_b: int | None = option(None, help="Disk that the pilot may use.", unit="b")
    gpus: tuple[str, ...] = option((), help="The GPUs that the pilot may give to jobs.")
    notice: str = option(
        "", help="A file or an http:// address that tells when the slot is taken back: a time, or 'true' for now."
    )
    notice_headers: tuple[str, ...] = option((), help="What that address wants to be told, each as 'Name: value'.")
    ask_s: float = option(30.0, help="That place is looked at this often.", unit="s", least=0.1)
    free_disk_b: int = option(2 * 10**9, help="With less disk free than this, no work is taken.", unit="b")


@frozen(kw_only=True)
class Budgets:
    """How long a step may take before it is left behind."""

    section = "budgets"

    steps: Mapping[str, float] = option({}, help="Seconds by the name of the step, in place of the workflow's own.")
    info_s: float = option(
        60.0, help="For what all information sources together are asked at the start.", unit="s", least=0.1
    )
    check_s: float = option(300.0, help="For the checks of the node before the first job.", unit="s", least=0.1)
    ask_s: float = option(600.0, help="For an answer to a request for work.", unit="s", least=0.1)
    report_s: float = option(300.0, help="For an update that is not the last.", unit="s", least=0.1)
    look_s: float = option(120.0, help="For one look of a monitor.", unit="s", least=0.1)
    past_s: float = option(600.0, help="For what waits of past jobs.", unit="s", least=0.1)


@frozen(kw_only=True)
class DataOptions:
    """How files are moved."""

    section = "data"

    copytools: tuple[str, ...] = option(("local",), help="Copy tools, the first that can is used first.")
    attempts: int = option(2, help="Rounds through all candidates of a file.", job=True, least=1)
    parallel: int = option(4, help="Files of one job moved at a time.", least=1)
    per_host: int = option(4, help="Transfers of one job with one host at a time.", least=1)
    stall_s: float = option(300.0, help="A transfer that moves no byte for so long is ended.", unit="s", least=0.01)
    budget_s: float = option(400.0, help="How long an empty file may take, if its copy tool tells nothing.", unit="s")
    slowest_b: int = option(10**6, help="For a larger one so many bytes a second more.", unit="b", least=1)
    longest_s: float = option(10800.0, help="No file may take longer, whatever its size.", unit="s", least=0.01)
    reserve_b: int = option(10**9, help="Inputs leave so much of the disk free.", unit="b")
    cache: Path | None = option(None, help="A directory of input files shared by the pilots of this node.")
    cache_b: int = option(50 * 10**9, help="The cache is kept below this size.", unit="b")
    log_required: bool = option(True, help="A job whose log cannot be stored has failed, as its server wants it.")
    trusted: str = option(
        "neither",
        help="Whose word on an input's size and checksum counts where job and catalogue differ; neither: that fails.",
        choices=("neither", "job", "catalogue"),
    )
    output_dir: str = option("", help="Where outputs go whose job names no place.", flag="--output-dir", place=True)


@frozen(kw_only=True)
class PayloadOptions:
    """How the payload is run."""

    section = "payload"

    container: str = option("none", help="The container runtime for payloads that name an image.")
    isolation: str = option(
        "auto",
        help="What is around payloads that name no image: a container runtime; hide: they do not see the pilot's "
        "credentials; none: they are as they are; auto: hide, where the node lets it.",
    )
    hidden: tuple[Path, ...] = option((), help="Further files and folders that payloads do not see then.")
    launcher: str = option("direct", help="How the payload is started on the slot.")
    keep_environment: tuple[str, ...] = option(
        ("PATH", "LANG", "LC_ALL", "TZ"),
        help="Variables of the pilot's own environment that the payload gets.",
    )
    grace_s: float = option(10.0, help="Between asking a payload to end and ending it.", unit="s", job=True)
    orphan: str = option("wait", help="What happens to a payload whose pilot died.", choices=("wait", "finish", "stop"))
    orphan_wait_s: float = option(60.0, help="How long such a payload waits for another pilot.", unit="s")
    adopt: bool = option(True, help="A recovering pilot lets a payload that still runs come to its end.")
    nofile: int | None = option(None, help="The limit of open files for the payload.", least=16)
    seal_s: float = option(
        10.0,
        help="What the payload says is on the disk after so long, even if pilot, keeper and payload are killed.",
        unit="s",
        least=0.01,
    )
    sealed_b: int = option(32 * 10**6, help="Of each output, so much of its end is sealed.", unit="b", least=1)
    nproc: int | None = option(
        None,
        help="With so many processes and threads of the pilot's user on the node, a payload starts no more; root may. "
        "If not set, a little less than the pilot itself may have.",
        least=16,
    )
    control_group: str = option(
        ".",
        help="Where a control group of its own is made for a payload, if that may be: in the pilot's own (.) or in one "
        "of version 2, by its path from the pilot's own; none: nowhere.",
    )
    group_memory: float = option(
        2.5, help="What job or queue says of memory, times this, is the most that such a group may hold; 0: no limit."
    )
    threads: int = option(10_000, help="A payload with more threads in all its processes is stopped.", least=16)
    output_b: int = option(
        2 * 2**30, help="The payload's output and errors are cut at this, each, and it is stopped.", unit="b", least=1
    )


@frozen(kw_only=True)
class ContainerOptions:
    """What a container shows of the node, and which images it may be made of."""

    section = "container"

    images: tuple[str, ...] = option((), help="Beginnings of the images that jobs may name; none: any image.")
    pull: str = option("missing", help="When an image is fetched.", choices=("never", "missing", "always"))
    cache: Path | None = option(None, help="Where the runtime keeps images that it fetched, if not at its own place.")
    mounts: tuple[str, ...] = option(
        (), help="Further paths that are shown, read-only: PATH, PATH:PATH_INSIDE, or either with :rw at its end."
    )
    shm_b: int | None = option(
        None, help="Room in a payload's /dev/shm, which is memory; if not said, as much as the job's memory.", unit="b"
    )
    network: str = option("host", help="The network that the payload sees.", choices=("host", "none"))
    gpus: str = option("none", help="Whose GPUs are shown.", choices=("none", "nvidia", "amd"))
    arguments: tuple[str, ...] = option((), help="Further words on the runtime's command line, before all others.")
    instead: Mapping[str, str] = option(
        {}, help="Runtimes by the names of others: what payload.container calls by the first is the second."
    )
    keep_environment: tuple[str, ...] = option(
        ("PATH", "HOME", "USER", "TMPDIR", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"),
        help="Variables of the pilot's own environment that the runtime gets. The payload does not.",
    )


@frozen(kw_only=True)
class MonitorOptions:
    """What is watched while a payload runs."""

    section = "monitor"

    monitors: tuple[str, ...] = option(
        ("disk", "walltime", "memory", "looping", "gpu", "cores", "health", "killfile"), help="Monitors to run."
    )
    sample_s: float = option(30.0, help="The processes are measured this often.", unit="s", least=0.01)
    pss_s: float = option(60.0, help="Their proportional memory is measured this often, which costs more.", unit="s")


@frozen(kw_only=True)
class ReportOptions:
    """How and when jobs are reported."""

    section = "report"

    heartbeat_s: float = option(1800.0, help="Between two updates of a running job.", unit="s", least=0.01)
    final_budget_s: float = option(
        3600.0, help="How long a final update is tried before it is put aside.", unit="s", least=0.1
    )
    outbox: Path | None = option(
        None,
        help="Where undelivered final updates wait for the next pilot; without it they wait in the work directory, for "
        "the next pilot there or for `pilot recover`.",
    )
    when_lost: str = option(
        "finish",
        help="A job whose server is out of reach finishes and leaves its result in the outbox, finishes and holds the "
        "pilot until the result is delivered, or is stopped after report.lost_s.",
        choices=("finish", "finish-and-hold", "stop-after"),
    )
    lost_s: float = option(10800.0, help="For stop-after: since the first update without an answer.", unit="s")
    log_tail_b: int = option(2048, help="How much of the payload's output a report carries.", unit="b")


@frozen(kw_only=True)
class LogOptions:
    """The pilot's own log."""

    section = "log"

    level: str = option("info", help="The least level to log.", choices=("debug", "info", "warning", "error"))
    json: bool = option(False, help="One JSON object a line instead of text.")
    shippers: tuple[str, ...] = option((), help="Log shippers that the records are sent to as well.")
    archive_b: int = option(
        2 * 10**9, help="Files in a job's log archive have so much together, before compression.", unit="b", least=0
    )
    ship_s: float = option(10.0, help="Between two shipments.", unit="s", least=0.01)


CORE: Final[tuple[type, ...]] = (
    Bootstrap,
    Connection,
    PilotOptions,
    SlotOptions,
    Budgets,
    DataOptions,
    PayloadOptions,
    ContainerOptions,
    MonitorOptions,
    ReportOptions,
    LogOptions,
)
"""All of the core's sections."""
