"""What Rubin (LSST) jobs need of the PanDA pilot: the experiment "lsst" and the monitor "lsst_log"."""
