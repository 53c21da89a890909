"""All that a plugin, a driver or a workflow may import: values and the contract here, tools in the modules below.

``pilot_core.sdk.io``, ``.wire``, ``.web``, ``.control`` and ``.loop`` are imported by whoever uses them. Anything else
of ``pilot_core`` is private and changes without notice.
"""

from pilot_core.config.options import option
from pilot_core.config.schema import Connection, PilotOptions, ReportOptions, SlotOptions
from pilot_core.errors import Code, ErrorCode, Party, PilotError, Retry, Stage
from pilot_core.machine.events import Result
from pilot_core.machine.phases import Step
from pilot_core.model.files import Checksum, FileSpec, Receipt, Replica, Transfer
from pilot_core.model.job import (
    ACCEPTED,
    FAILED,
    FINISHED,
    RUNNING,
    STAGE_IN,
    STAGE_OUT,
    Job,
    JobExtras,
    JobKey,
    Phase,
)
from pilot_core.model.payload import Command, Outcome, SideProcess, Usage, Verdict
from pilot_core.model.queue import Queue, Resources, Storage
from pilot_core.spec.drivers import (
    PROXY,
    Communicator,
    Container,
    CopyTool,
    Driver,
    EventChannel,
    Fetches,
    InfoSource,
    Launcher,
    Letter,
    LogShipper,
    Monitor,
    Mount,
    Moved,
    Moving,
    Offer,
    Reading,
    Reply,
    Resource,
    Stores,
    Update,
    View,
    Workflow,
)
from pilot_core.spec.markers import Isolation, hookimpl
from pilot_core.spec.patch import Patch, Verb
from pilot_core.spec.work import Cancel, Settings, Task, Work

__all__ = [
    "ACCEPTED",
    "FAILED",
    "FINISHED",
    "PROXY",
    "RUNNING",
    "STAGE_IN",
    "STAGE_OUT",
    "Cancel",
    "Checksum",
    "Code",
    "Command",
    "Communicator",
    "Connection",
    "Container",
    "CopyTool",
    "Driver",
    "ErrorCode",
    "EventChannel",
    "Fetches",
    "FileSpec",
    "InfoSource",
    "Isolation",
    "Job",
    "JobExtras",
    "JobKey",
    "Launcher",
    "Letter",
    "LogShipper",
    "Monitor",
    "Mount",
    "Moved",
    "Moving",
    "Offer",
    "Outcome",
    "Party",
    "Patch",
    "Phase",
    "PilotError",
    "PilotOptions",
    "Queue",
    "Reading",
    "Receipt",
    "Replica",
    "Reply",
    "ReportOptions",
    "Resource",
    "Resources",
    "Result",
    "Retry",
    "Settings",
    "SideProcess",
    "SlotOptions",
    "Stage",
    "Step",
    "Storage",
    "Stores",
    "Task",
    "Transfer",
    "Update",
    "Usage",
    "Verb",
    "Verdict",
    "View",
    "Work",
    "Workflow",
    "hookimpl",
    "option",
]
