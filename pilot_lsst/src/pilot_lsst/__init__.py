"""What Rubin (LSST) jobs need of the PanDA pilot. Nearly empty: it registers nothing yet."""
