"""Runs one process and says what it cost."""

import os
import subprocess
import sys
import time


def timed(command, environment):
    """Its output, wall seconds, and peak memory in MiB; ends this program if it fails."""
    command = list(map(str, command))
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"failed ({process.returncode}): {' '.join(command)}")
    return output, wall, usage.ru_maxrss / 1024
