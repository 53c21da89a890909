"""The core's error codes: numbers and acronyms are the server's contract, never changed and never used again.

A row says in which stage the error belongs, whose fault it is, what a retry should do, a sentence to act
on, and, where the pilot itself ends by it, the exit code of its process. Import these from ``errors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final

from attrs import frozen


class Party(Enum):
    """Whose fault an error is."""

    PAYLOAD = "payload"
    STORAGE = "storage"
    SITE = "site"
    SERVER = "server"
    PILOT = "pilot"
    PLUGIN = "plugin"
    NOBODY = "nobody"


class Retry(Enum):
    """What a retry should do; the value is the advice in words."""

    ELSEWHERE = "try again on another node; this one is at fault"
    LATER = "try again; this usually passes"
    REPLICA = "try again with another copy of the file; this one is suspect"
    CHANGED = "try again with a changed request: more memory, time or space, or smaller work"
    UNCOUNTED = "try again; this attempt does not count"
    COUNTED = "correct the job first; this attempt counts"
    ALERT = "try again, and tell the operators"
    NEVER = "do not try again as it is"


class Stage(IntEnum):
    """Where in a job's story an error belongs: an earlier stage explains a later one."""

    STOP = 0
    BEFORE = 1
    STAGE_IN = 2
    PAYLOAD = 3
    STAGE_OUT = 4
    LOG = 5
    ANY = 6


@frozen
class ErrorCode:
    """One row. Written in a class body it takes its acronym from there, so no name is written twice."""

    number: int
    stage: Stage
    party: Party
    retry: Retry
    sentence: str
    exit_code: int = 1
    vague: bool = False
    acronym: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        if not self.acronym:
            object.__setattr__(self, "acronym", name)

    def __str__(self) -> str:
        return f"{self.number} {self.acronym}"


STOP, BEFORE, STAGE_IN, RUN, STAGE_OUT, LOG, ANY = Stage
PAYLOAD, STORAGE, SITE, SERVER, PILOT, PLUGIN, NOBODY = Party
ELSEWHERE, LATER, REPLICA, CHANGED, UNCOUNTED, COUNTED, ALERT, NEVER = Retry


class Code:
    """The core's rows, as constants: ``Code.STAGEINFAILED`` is ``code(1099)``."""

    GENERALERROR = ErrorCode(1008, ANY, PILOT, ALERT, "The pilot failed; its log says where", 65, vague=True)
    NOLOCALSPACE = ErrorCode(1098, RUN, SITE, ELSEWHERE, "The node's disk is full, or too full for this job", 69)
    STAGEINFAILED = ErrorCode(1099, STAGE_IN, STORAGE, LATER, "An input could not be fetched", vague=True)
    REPLICANOTFOUND = ErrorCode(1100, STAGE_IN, STORAGE, REPLICA, "The named copy of an input is not there")
    NOSUCHFILE = ErrorCode(1103, STAGE_IN, STORAGE, LATER, "A file to be copied is not where it should be", 67)
    USERDIRTOOLARGE = ErrorCode(1104, RUN, PAYLOAD, CHANGED, "The job filled more disk than it may")
    STDOUTTOOBIG = ErrorCode(1106, RUN, PAYLOAD, CHANGED, "The payload wrote more log than it may")
    SETUPFAILURE = ErrorCode(1110, BEFORE, PAYLOAD, LATER, "The payload's environment could not be set up")
    NFSSQLITE = ErrorCode(1115, RUN, SITE, ELSEWHERE, "SQLite could not lock a file on a network disk")
    QUEUEDATA = ErrorCode(1116, BEFORE, SERVER, LATER, "No source had the queue's description", 71)
    QUEUEDATANOTOK = ErrorCode(1117, BEFORE, SITE, NEVER, "The queue's description is not valid", 72)
    OUTPUTFILETOOLARGE = ErrorCode(1124, RUN, PAYLOAD, CHANGED, "An output is larger than any storage takes")
    NOSTORAGE = ErrorCode(1133, STAGE_OUT, SITE, NEVER, "The queue names no storage for this purpose")
    STAGEOUTFAILED = ErrorCode(1137, STAGE_OUT, STORAGE, LATER, "An output could not be stored", vague=True)
    PUTMD5MISMATCH = ErrorCode(1141, STAGE_OUT, STORAGE, REPLICA, "A stored output's md5 differs from the file's")
    CHMODTRF = ErrorCode(1143, BEFORE, SITE, ELSEWHERE, "The transform could not be made executable")
    PANDAKILL = ErrorCode(1144, STOP, SERVER, UNCOUNTED, "The server asked to end this job")
    GETMD5MISMATCH = ErrorCode(1145, STAGE_IN, STORAGE, REPLICA, "A fetched input's md5 is not the catalogue's")
    TRFDOWNLOADFAILURE = ErrorCode(1149, BEFORE, PAYLOAD, COUNTED, "The transform's address gave no transform")
    LOOPINGJOB = ErrorCode(1150, RUN, PAYLOAD, CHANGED, "The payload wrote nothing for too long")
    STAGEINTIMEOUT = ErrorCode(1151, STAGE_IN, STORAGE, LATER, "Fetching an input took longer than it may")
    STAGEOUTTIMEOUT = ErrorCode(1152, STAGE_OUT, STORAGE, LATER, "Storing an output took longer than it may")
    NOPROXY = ErrorCode(1163, BEFORE, SITE, ALERT, "There is no valid proxy or token", 68)
    MISSINGOUTPUTFILE = ErrorCode(1165, STAGE_OUT, PAYLOAD, COUNTED, "The payload left out an output it promised")
    SIZETOOLARGE = ErrorCode(1168, BEFORE, PAYLOAD, CHANGED, "The inputs together exceed what the queue allows")
    GETADMISMATCH = ErrorCode(1171, STAGE_IN, STORAGE, REPLICA, "A fetched input's adler32 is not the catalogue's")
    PUTADMISMATCH = ErrorCode(1172, STAGE_OUT, STORAGE, REPLICA, "A stored output's adler32 differs from the file's")
    NOVOMSPROXY = ErrorCode(1177, BEFORE, SITE, ALERT, "There is no valid VOMS proxy", 68)
    GETGLOBUSSYSERR = ErrorCode(1180, STAGE_IN, STORAGE, LATER, "Globus failed while an input was fetched")
    PUTGLOBUSSYSERR = ErrorCode(1181, STAGE_OUT, STORAGE, LATER, "Globus failed while an output was stored")
    NOSOFTWAREDIR = ErrorCode(1186, BEFORE, SITE, ELSEWHERE, "The site's software directory is not there", 73)
    NOPAYLOADMETADATA = ErrorCode(1187, RUN, PAYLOAD, COUNTED, "The payload wrote no report about itself")
    LFNTOOLONG = ErrorCode(1190, BEFORE, PAYLOAD, NEVER, "A file name has more than 255 characters")
    ZEROFILESIZE = ErrorCode(1191, STAGE_OUT, PAYLOAD, COUNTED, "An output is empty")
    MKDIR = ErrorCode(1199, BEFORE, SITE, ELSEWHERE, "A directory could not be made, or is somebody else's", 66)
    KILLSIGNAL = ErrorCode(1200, STOP, SITE, UNCOUNTED, "The pilot was ended from outside", 137, vague=True)
    SIGTERM = ErrorCode(1201, STOP, SITE, UNCOUNTED, "The batch system ended the pilot (SIGTERM)", 143)
    SIGQUIT = ErrorCode(1202, STOP, SITE, UNCOUNTED, "The batch system ended the pilot (SIGQUIT)", 131)
    SIGSEGV = ErrorCode(1203, STOP, SITE, UNCOUNTED, "The pilot ended by a bad memory access (SIGSEGV)", 139)
    SIGXCPU = ErrorCode(1204, STOP, SITE, UNCOUNTED, "The batch system's CPU limit is used up (SIGXCPU)", 152)
    USERKILL = ErrorCode(1205, STOP, SERVER, UNCOUNTED, "The job's owner ended it")
    SIGBUS = ErrorCode(1206, STOP, SITE, UNCOUNTED, "The pilot ended by a memory or disk fault (SIGBUS)", 135)
    SIGUSR1 = ErrorCode(1207, STOP, SITE, UNCOUNTED, "The batch system ended the pilot (SIGUSR1)", 138)
    SIGINT = ErrorCode(1208, STOP, SITE, UNCOUNTED, "The pilot was interrupted (SIGINT)", 130)
    MISSINGINSTALLATION = ErrorCode(1211, RUN, SITE, ELSEWHERE, "The release the payload needs is not installed here")
    PAYLOADOUTOFMEMORY = ErrorCode(1212, RUN, PAYLOAD, CHANGED, "The payload ran out of memory")
    REACHEDMAXTIME = ErrorCode(1213, RUN, PAYLOAD, CHANGED, "The job's wall time is used up", 81)
    UNKNOWNPAYLOADFAILURE = ErrorCode(1220, RUN, PAYLOAD, COUNTED, "The payload failed without a reason", vague=True)
    FILEEXISTS = ErrorCode(1221, STAGE_OUT, STORAGE, COUNTED, "Another file of this name is already stored")
    BADALLOC = ErrorCode(1223, RUN, PAYLOAD, CHANGED, "The payload asked for memory and got none (bad_alloc)")
    ESRECOVERABLE = ErrorCode(1224, RUN, PAYLOAD, LATER, "Event processing failed and can go on later")
    ESFATAL = ErrorCode(1228, RUN, PAYLOAD, COUNTED, "Event processing failed for good")
    EXECUTEDCLONEJOB = ErrorCode(1234, BEFORE, SERVER, NEVER, "A clone of this job has already run")
    PAYLOADEXCEEDMAXMEM = ErrorCode(1235, RUN, PAYLOAD, CHANGED, "The payload used more memory than it may")
    FAILEDBYSERVER = ErrorCode(1236, STOP, SERVER, UNCOUNTED, "The server declared this job failed")
    ESNOEVENTS = ErrorCode(1238, RUN, SERVER, UNCOUNTED, "The server had no events for this job")
    MESSAGEHANDLINGFAILURE = ErrorCode(1240, RUN, PAYLOAD, LATER, "A message of the payload made no sense")
    CHKSUMNOTSUP = ErrorCode(1242, STAGE_OUT, STORAGE, NEVER, "The storage can't tell the checksum of a file")
    NORELEASEFOUND = ErrorCode(1244, BEFORE, SITE, ELSEWHERE, "No installed release fits the payload")
    NOUSERTARBALL = ErrorCode(1246, RUN, PAYLOAD, COUNTED, "The user's code is not on the server; submit again")
    BADXML = ErrorCode(1247, RUN, PAYLOAD, COUNTED, "The payload's report is not readable XML")
    NOTIMPLEMENTED = ErrorCode(1300, ANY, PILOT, NEVER, "What the job asks for does not exist in this pilot")
    UNKNOWNEXCEPTION = ErrorCode(1301, ANY, PILOT, ALERT, "The pilot met an error it does not know", 70, vague=True)
    CONVERSIONFAILURE = ErrorCode(1302, ANY, PAYLOAD, CHANGED, "The job's description could not be read")
    FILEHANDLINGFAILURE = ErrorCode(1303, ANY, SITE, ELSEWHERE, "A local file could not be read or written")
    PAYLOADEXECUTIONFAILURE = ErrorCode(1305, RUN, PAYLOAD, COUNTED, "The payload failed", vague=True)
    SINGULARITYGENERALFAILURE = ErrorCode(1306, RUN, SITE, ELSEWHERE, "The container runtime failed", vague=True)
    SINGULARITYNOLOOPDEVICES = ErrorCode(1307, RUN, SITE, ELSEWHERE, "The node has no loop device left for the image")
    SINGULARITYBINDPOINTFAILURE = ErrorCode(
        1308, RUN, SITE, ELSEWHERE, "The container runtime refused to bind a directory"
    )
    SINGULARITYIMAGEMOUNTFAILURE = ErrorCode(
        1309, RUN, SITE, ELSEWHERE, "The container runtime could not mount the image"
    )
    PAYLOADEXECUTIONEXCEPTION = ErrorCode(
        1310, RUN, PILOT, ALERT, "The pilot failed while it ran the payload", vague=True
    )
    NOTDEFINED = ErrorCode(1311, ANY, PILOT, ALERT, "A number that a calculation needs is not defined")
    NOTSAMELENGTH = ErrorCode(1312, ANY, PILOT, ALERT, "Two series of a fit differ in length")
    NOSTORAGEPROTOCOL = ErrorCode(
        1313, STAGE_OUT, SITE, NEVER, "The storage offers no protocol that a copy tool speaks"
    )
    UNKNOWNCHECKSUMTYPE = ErrorCode(1314, STAGE_IN, STORAGE, NEVER, "A file has a checksum of an unknown kind")
    UNKNOWNTRFFAILURE = ErrorCode(1315, RUN, PAYLOAD, COUNTED, "The transform failed without a reason", vague=True)
    RUCIOSERVICEUNAVAILABLE = ErrorCode(1316, STAGE_IN, STORAGE, LATER, "Rucio does not answer")
    EXCEEDEDMAXWAITTIME = ErrorCode(1317, ANY, PILOT, ALERT, "A step of the pilot used up its time")
    COMMUNICATIONFAILURE = ErrorCode(1318, ANY, SERVER, LATER, "The server could not be reached", 79)
    INTERNALPILOTPROBLEM = ErrorCode(
        1319, ANY, PILOT, ALERT, "The pilot contradicts itself; its log says how", vague=True
    )
    LOGFILECREATIONFAILURE = ErrorCode(1320, LOG, PILOT, ALERT, "The log archive could not be written")
    RUCIOLOCATIONFAILED = ErrorCode(1321, STAGE_IN, STORAGE, LATER, "Rucio could not tell where this node is")
    RUCIOLISTREPLICASFAILED = ErrorCode(1322, STAGE_IN, STORAGE, LATER, "Rucio could not list the copies of the inputs")
    UNKNOWNCOPYTOOL = ErrorCode(1323, STAGE_IN, SITE, NEVER, "The queue names a copy tool that is not installed here")
    SERVICENOTAVAILABLE = ErrorCode(1324, STAGE_IN, STORAGE, LATER, "The storage does not answer")
    SINGULARITYNOTINSTALLED = ErrorCode(1325, RUN, SITE, ELSEWHERE, "Singularity is not installed on this node")
    NOREPLICAS = ErrorCode(1326, STAGE_IN, STORAGE, REPLICA, "An input has no copy that this node can use")
    UNREACHABLENETWORK = ErrorCode(1327, STAGE_IN, SITE, ELSEWHERE, "The node can't reach the network of the storage")
    PAYLOADSIGSEGV = ErrorCode(1328, RUN, PAYLOAD, COUNTED, "The payload ended by a bad memory access (SIGSEGV)")
    NONDETERMINISTICDDM = ErrorCode(
        1329, STAGE_OUT, SITE, NEVER, "The storage's naming rule does not say where to put files"
    )
    JSONRETRIEVALTIMEOUT = ErrorCode(1330, BEFORE, SERVER, LATER, "A description was not delivered in time", 74)
    MISSINGINPUTFILE = ErrorCode(1331, STAGE_IN, STORAGE, REPLICA, "The storage has lost an input it should hold", 77)
    BLACKHOLE = ErrorCode(1332, BEFORE, SITE, ELSEWHERE, "This node fails its jobs one after another", 75)
    NOREMOTESPACE = ErrorCode(1333, STAGE_OUT, STORAGE, LATER, "The storage is full")
    SETUPFATAL = ErrorCode(1334, RUN, PAYLOAD, COUNTED, "The payload's own set-up failed; its log says why")
    MISSINGUSERCODE = ErrorCode(1335, RUN, PAYLOAD, COUNTED, "The user's code has expired on the server; send it again")
    JOBALREADYRUNNING = ErrorCode(1336, BEFORE, SERVER, NEVER, "A job of this id is already under way")
    BADMEMORYMONITORJSON = ErrorCode(1337, ANY, PILOT, ALERT, "The memory monitor's report is not readable")
    STAGEINAUTHENTICATIONFAILURE = ErrorCode(
        1338, STAGE_IN, STORAGE, LATER, "The storage refused the pilot's credentials for an input"
    )
    DBRELEASEFAILURE = ErrorCode(1339, BEFORE, SITE, ELSEWHERE, "The local database release could not be prepared")
    SINGULARITYNEWUSERNAMESPACE = ErrorCode(
        1340, RUN, SITE, ELSEWHERE, "The node forbids the user namespace that the container runtime wants"
    )
    BADQUEUECONFIGURATION = ErrorCode(1341, BEFORE, SITE, NEVER, "The queue's settings contradict each other")
    MIDDLEWAREIMPORTFAILURE = ErrorCode(1342, BEFORE, SITE, ELSEWHERE, "A library the site provides does not load", 76)
    NOOUTPUTINJOBREPORT = ErrorCode(1343, RUN, PAYLOAD, COUNTED, "The payload's report names no output")
    RESOURCEUNAVAILABLE = ErrorCode(1344, RUN, SITE, ELSEWHERE, "The node has no processes or memory left to give")
    SINGULARITYFAILEDUSERNAMESPACE = ErrorCode(
        1345, RUN, SITE, ELSEWHERE, "The container runtime could not make a user namespace"
    )
    TRANSFORMNOTFOUND = ErrorCode(1346, RUN, PAYLOAD, COUNTED, "The transform is not in the release")
    UNSUPPORTEDSL5OS = ErrorCode(1347, BEFORE, SITE, ELSEWHERE, "The node's operating system is too old (SL5)")
    SINGULARITYRESOURCEUNAVAILABLE = ErrorCode(
        1348, RUN, SITE, ELSEWHERE, "The container runtime found no processes or memory left"
    )
    UNRECOGNIZEDTRFARGUMENTS = ErrorCode(
        1349, RUN, PAYLOAD, COUNTED, "The transform does not know one of its arguments"
    )
    EMPTYOUTPUTFILE = ErrorCode(1350, RUN, PAYLOAD, COUNTED, "An output was empty while the payload still ran")
    UNRECOGNIZEDTRFSTDERR = ErrorCode(
        1351, RUN, PAYLOAD, COUNTED, "The transform's stderr tells of an unknown fatal error"
    )
    STATFILEPROBLEM = ErrorCode(1352, ANY, PILOT, ALERT, "A process file needed for the CPU time is missing")
    NOSUCHPROCESS = ErrorCode(1353, ANY, PILOT, ALERT, "A process ended while its CPU time was read")
    GENERALCPUCALCPROBLEM = ErrorCode(1354, ANY, PILOT, ALERT, "The CPU time could not be summed", vague=True)
    COREDUMP = ErrorCode(1355, RUN, PAYLOAD, COUNTED, "The payload crashed and left a core dump")
    PREPROCESSFAILURE = ErrorCode(1356, BEFORE, PAYLOAD, COUNTED, "The job's command before the payload failed")
    POSTPROCESSFAILURE = ErrorCode(1357, RUN, PAYLOAD, COUNTED, "The job's command after the payload failed")
    MISSINGRELEASEUNPACKED = ErrorCode(
        1358, BEFORE, SITE, ELSEWHERE, "The unpacked container holds no release to set up"
    )
    PANDAQUEUENOTACTIVE = ErrorCode(1359, BEFORE, SITE, LATER, "The queue is not active", 78)
    IMAGENOTFOUND = ErrorCode(1360, BEFORE, PAYLOAD, COUNTED, "The job's container image is not there")
    REMOTEFILECOULDNOTBEOPENED = ErrorCode(
        1361, STAGE_IN, STORAGE, REPLICA, "An input to be read in place does not open"
    )
    XRDCPERROR = ErrorCode(1362, STAGE_IN, STORAGE, LATER, "xrdcp could not open a file")
    KILLPAYLOAD = ErrorCode(1363, STOP, SERVER, UNCOUNTED, "The event scheduler asked to end the payload")
    MISSINGCREDENTIALS = ErrorCode(1364, STAGE_IN, SITE, ALERT, "The object store's credentials are not here")
    NOCTYPES = ErrorCode(1365, BEFORE, SITE, ELSEWHERE, "This node's Python lacks ctypes")
    CHECKSUMCALCFAILURE = ErrorCode(1366, STAGE_OUT, SITE, ELSEWHERE, "A local file could not be read for its checksum")
    COMMANDTIMEDOUT = ErrorCode(1367, ANY, SITE, LATER, "A command the pilot ran did not end in time")
    REMOTEFILEOPENTIMEDOUT = ErrorCode(
        1368, STAGE_IN, STORAGE, LATER, "An input to be read in place did not open in time"
    )
    FRONTIER = ErrorCode(1369, RUN, STORAGE, LATER, "The conditions database (Frontier) did not answer the payload")
    VOMSPROXYABOUTTOEXPIRE = ErrorCode(1370, BEFORE, SITE, ALERT, "The VOMS proxy ends soon and needs renewal")
    BADOUTPUTFILENAME = ErrorCode(1371, BEFORE, PAYLOAD, NEVER, "An output's name has characters that are not ASCII")
    APPTAINERNOTINSTALLED = ErrorCode(1372, RUN, SITE, ELSEWHERE, "Apptainer is not installed on this node")
    CERTIFICATEHASEXPIRED = ErrorCode(1373, BEFORE, SITE, ALERT, "The certificate has expired or soon will", 68)
    REMOTEFILEDICTDOESNOTEXIST = ErrorCode(
        1374, STAGE_IN, STORAGE, LATER, "The test of reading inputs in place left no result"
    )
    LEASETIME = ErrorCode(1375, STOP, SITE, UNCOUNTED, "The pilot's lease is over")
    LOGCREATIONTIMEOUT = ErrorCode(1376, LOG, PILOT, ALERT, "The log archive was not written in time")
    CVMFSISNOTALIVE = ErrorCode(1377, BEFORE, SITE, ELSEWHERE, "CVMFS does not answer on this node", 64)
    LSETUPTIMEDOUT = ErrorCode(1378, STAGE_IN, SITE, LATER, "The software set-up for reading inputs took too long")
    PREEMPTION = ErrorCode(1379, STOP, SITE, UNCOUNTED, "The site took the slot back for other work", 143)
    ARCPROXYFAILURE = ErrorCode(1380, BEFORE, SITE, ALERT, "arcproxy failed; its output says why", vague=True)
    ARCPROXYLIBFAILURE = ErrorCode(1381, BEFORE, SITE, ALERT, "arcproxy lacks a shared library")
    PROXYTOOSHORT = ErrorCode(1382, BEFORE, SITE, ALERT, "The proxy would end before a job could", 80)
    STAGEOUTAUTHENTICATIONFAILURE = ErrorCode(
        1383, STAGE_OUT, STORAGE, LATER, "The storage refused the pilot's credentials for an output"
    )
    QUEUENOTSETUPFORCONTAINERS = ErrorCode(
        1384, BEFORE, SITE, NEVER, "The job wants a container and the queue allows the pilot none"
    )
    NOJOBSINPANDA = ErrorCode(1385, BEFORE, SERVER, LATER, "The server has no job for this queue", 82)
    PANDAQUEUENOTONLINE = ErrorCode(1386, BEFORE, SITE, LATER, "The queue is offline", 83)

    PLUGINFAILED = ErrorCode(1900, ANY, PLUGIN, ALERT, "A plugin failed; its name and place follow")
    CHECKPOINTED = ErrorCode(1901, ANY, NOBODY, UNCOUNTED, "The payload saved a checkpoint to go on from")


OF_CLASS: Final[Mapping[str, tuple[ErrorCode, ...]]] = {
    "memory": (Code.PAYLOADOUTOFMEMORY, Code.BADALLOC, Code.PAYLOADEXCEEDMAXMEM),
    "disk": (Code.NOLOCALSPACE, Code.USERDIRTOOLARGE, Code.STDOUTTOOBIG, Code.NOREMOTESPACE, Code.OUTPUTFILETOOLARGE),
    "limits": (Code.RESOURCEUNAVAILABLE, Code.SIZETOOLARGE),
    "time": (Code.REACHEDMAXTIME, Code.LOOPINGJOB, Code.COMMANDTIMEDOUT),
    "crash": (Code.PAYLOADSIGSEGV, Code.COREDUMP),
    "software": (Code.MISSINGINSTALLATION, Code.NORELEASEFOUND, Code.NOSOFTWAREDIR, Code.TRANSFORMNOTFOUND),
    "database": (Code.FRONTIER, Code.NFSSQLITE, Code.DBRELEASEFAILURE),
    "network": (Code.UNREACHABLENETWORK,),
    "credentials": (
        *(Code.NOPROXY, Code.NOVOMSPROXY, Code.CERTIFICATEHASEXPIRED, Code.PROXYTOOSHORT, Code.MISSINGCREDENTIALS),
        *(Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    ),
    "container": (
        *(Code.SINGULARITYGENERALFAILURE, Code.SINGULARITYNOLOOPDEVICES, Code.SINGULARITYBINDPOINTFAILURE),
        *(Code.SINGULARITYIMAGEMOUNTFAILURE, Code.SINGULARITYNOTINSTALLED, Code.APPTAINERNOTINSTALLED),
        *(Code.SINGULARITYNEWUSERNAMESPACE, Code.SINGULARITYFAILEDUSERNAMESPACE, Code.IMAGENOTFOUND),
        *(Code.SINGULARITYRESOURCEUNAVAILABLE, Code.QUEUENOTSETUPFORCONTAINERS),
    ),
    "node": (Code.CVMFSISNOTALIVE, Code.BLACKHOLE, Code.MKDIR),
}
"""Which class of failures a code tells; of all others their stage or party does."""
