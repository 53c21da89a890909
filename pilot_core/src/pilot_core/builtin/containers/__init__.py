"""Container runtimes: each builds the command that runs another one in an image."""
