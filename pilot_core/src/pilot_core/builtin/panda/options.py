"""The options of the communicator "panda"."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from pilot_core.sdk import option


@frozen(kw_only=True)
class PandaOptions:
    """The communicator "panda"."""

    section = "panda"

    dialect: str = option(
        "auto", help="How the server is spoken to; auto finds it out once.", choices=("auto", "v1", "legacy")
    )
    label: str = option("managed", help="The kind of jobs to ask for, a prodSourceLabel.")
    n_jobs: int = option(1, help="Jobs to ask for at a time.")
    computing_element: str = option("", help="The name by which the server notes the slot; the queue's if empty.")
    job_type: str = option("", help="Take jobs of this type alone, such as user or managed, where the label is test.")
    resource_type: str = option("", help="Take jobs of this type alone, such as SCORE or MCORE.")
    node: str = option("", help="The name of this node, if not its host name.", env="PANDA_HOSTNAME")
    slot: str = option("", help="The slot on this node, for its name.", env="_CONDOR_SLOT")
    jobs_file: Path | None = option(
        None, help="A file whose jobs come before those of the server, such as pandaJobData.out."
    )
    jobs_file_s: float = option(
        0.0, help="Wait so long for that file and take its jobs alone; 0: the server's as well.", unit="s"
    )
    same_task: bool = option(False, help="After its first job, ask for jobs of the same task alone.")
    ids_file: Path | None = option(None, help="Where the numbers of jobs are noted that were taken, one a line.")
    worker_status: bool = option(True, help="Tell the server that the pilot began and ended, for its harvester.")
    site_facts: tuple[str, ...] = option(
        ("site", "gstat"), help="The facts of a queue that name its site for the map of nodes, the best first."
    )
    harvester_id: str = option("", help="The harvester that started this pilot.", env="HARVESTER_ID")
    worker_id: int | None = option(None, help="That harvester's number of this pilot.", env="HARVESTER_WORKER_ID")
    scheduler_id: str = option("", help="The scheduler that started this pilot.", env="PANDA_JSID")
    batch_id: str = option("", help="The number of this pilot in the batch system, if that tells none or another.")
    log_url: str = option("", help="Where the batch system's log of this pilot will be.", env="GTAG")
    version_tag: str = option("PR", help="The kind of this pilot: PR in production, RC for a candidate.")
    limit_wall: str = option(
        "queue",
        help="Whether a job's maxWalltime is a limit; queue: if the queue's params.job_maxwalltime says so.",
        choices=("queue", "yes", "no"),
    )
    pause_s: float = option(60.0, help="After an empty answer, ask again after this time up to thrice it.", unit="s")
    bulk: int = option(1, help="Updates that one message may hold; 1 sends each on its own.", least=1)
    renew: bool = option(True, help="Have the server renew the pilot's token while it runs.")
    renew_s: float = option(3600.0, help="Between two renewals of the token.", unit="s", least=60)
    token_client: str = option("pilot_server", help="In whose name the server keeps tokens for pilots.")
    user_proxy_role: str = option("", help="On a unified queue, the role of the proxy that jobs of users have.")
    user_proxy_dn: str = option("", help="On a unified queue, whose proxy jobs of users have.")
    proxy_role: str = option("", help="The role of the proxy that the server renews; without one it is not renewed.")
    request_s: float = option(120.0, help="For one request, answer and all.", unit="s")
    follow_all: bool = option(
        False, help="Each update carries the end of what the payload says, as for a job that somebody follows."
    )
    debug_heartbeat_s: float = option(60.0, help="Between two updates of a job that somebody follows.", unit="s")
    broker: tuple[str, ...] = option(
        (), help="Message brokers, as HOST:PORT, that tell of work; the server is asked once one of them does."
    )
    broker_destination: str = option("/topic/panda.pilot", help="Where brokers tell of it.")
    broker_tls: bool = option(True, help="Speak to brokers over TLS alone.")
    broker_spread_s: float = option(
        10.0,
        help="What a broker tells all pilots at once each acts upon at some moment within this long.",
        unit="s",
        least=0,
    )
    broker_idle_s: float = option(
        3600.0,
        help="Where a broker tells of work, the server is asked all the same after this time.",
        unit="s",
        least=1,
    )
