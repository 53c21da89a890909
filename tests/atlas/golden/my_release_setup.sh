export retCode=0
[ -n "$ATLAS_LOCAL_ROOT_BASE" ] || export ATLAS_LOCAL_ROOT_BASE=/cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase
[ -n "$AtlasSetup" ] || source "$ATLAS_LOCAL_ROOT_BASE/user/atlasLocalSetup.sh" --quiet
source "$AtlasSetup/scripts/asetup.sh" AthSimulation,23.0.53,notest --platform x86_64-el9-gcc13-opt --makeflags="$MAKEFLAGS"
retCode=$?
date -u '+%H:%M:%S %Y/%m/%d'
return $retCode
