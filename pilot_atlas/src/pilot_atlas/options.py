"""What a site may say of ATLAS jobs, and where things lie on CVMFS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.sdk import option

REPOSITORY: Final = "atlas.cern.ch/repo"
BASES: Final = (
    "https://pandaserver.cern.ch:25443",
    "https://pandaserver.cern.ch",
    "https://pandaserver-tb.cern.ch:25443",
    "https://pandaserver-tb.cern.ch",
    "https://www.usatlas.bnl.gov",
    "https://atlpan.web.cern.ch/atlpan",
)
"""Where transforms may come from."""
MOUNTS: Final = (
    "atlas.cern.ch/repo/sw",
    "atlas.cern.ch/repo/ATLASLocalRootBase/logDir/lastUpdate",
    "atlas-condb.cern.ch/repo/conditions/logDir/lastUpdate",
    "atlas-nightlies.cern.ch/repo/sw/logs/lastUpdate",
    "sft.cern.ch/lcg/lastUpdate",
    "sft-nightlies.cern.ch/lcg/lastUpdate",
    "unpacked.cern.ch/logDir/lastUpdate",
)


@frozen(kw_only=True)
class AtlasOptions:
    """ATLAS jobs."""

    section = "atlas"

    cvmfs: Path = option(Path("/cvmfs"), help="Where CVMFS is mounted.", env="ATLAS_SW_BASE")
    without_cvmfs: bool = option(False, help="Take work where CVMFS is not mounted, too.", env="NO_CVMFS_OK")
    mounts: tuple[str, ...] = option(MOUNTS, help="What must be there below atlas.cvmfs before work is taken.")
    least_proxy_s: float = option(
        71.6 * 3600, help="A proxy that ends sooner takes no work; 0: any will do.", unit="s", least=0
    )
    image_base: Path | None = option(
        None, help="A directory of unpacked images, which are taken in place of those that jobs name.", env="IMAGE_BASE"
    )
    transforms: tuple[str, ...] = option(
        BASES,
        help="Addresses below which transforms may lie; one that fails is asked of the others.",
        env="PANDA_BASE_URLS",
    )
    transform_rounds: int = option(3, help="All of these addresses are asked so often for a transform.", least=1)
    transform_pause_s: float = option(5.0, help="Between two rounds.", unit="s", least=0)
    transform_s: float = option(100.0, help="In all that time a transform must come.", unit="s", least=1)
    transform_folder: Path | None = option(
        None, help="A directory where transforms lie already.", env="HARVESTER_WORKDIR"
    )
    ram_per_core: Mapping[str, float] = option(
        {}, help="Memory for each core by resource type, in MB, where the server is not to be asked."
    )

    @property
    def repository(self) -> Path:
        """The experiment's own file system."""
        return self.cvmfs / REPOSITORY

    @property
    def local_root_base(self) -> Path:
        """Where ALRB lies."""
        return self.repository / "ATLASLocalRootBase"
