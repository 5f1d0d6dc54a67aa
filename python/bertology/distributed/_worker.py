"""A process that makes one part, and stops when the process that started it is gone.

The driver holds the other end of standard input. Where it ends, whatever the reason, the part is asked to save and to
end, so that nobody computes for a driver that is no more, and a new one finds the folder free.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from bertology import _native


def watch() -> None:
    """Waits for the driver's end."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    sys.exit(_native.main(["bertology", *sys.argv[1:]]))
