"""The pure heart: values in, values and commands out; no files, clocks, threads or logs."""
