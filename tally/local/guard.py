"""`python -m tally.local.guard PIDFILE COMMAND...`: become COMMAND, and die when supervisord dies.

A killed supervisor cannot stop its children. Without this they would live on as orphans that hold
the warehouse's folder and the ports, and the next `tally up` could not start.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask Linux for SIGKILL at the parent's death, then exec."""
    pidfile, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the call above.
        if os.getppid() != int(Path(pidfile).read_text()):
            sys.exit("supervisord is gone")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
