"""What a running process has cost so far, from Linux's /proc."""

import os
from pathlib import Path

from msgspec import Struct

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_UTIME = 11  # counted behind the name, which may hold spaces
_STIME = 12


def cpu_seconds(pid: int) -> float:
    """The CPU time of all threads, in user code and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_A_SECOND


def resident_mib(pid: int, *, peak: bool = False) -> float:
    """The memory that the process holds now, or held at most."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


class Figures(Struct):
    """One measurement: rows in `seconds` of wall time, with the CPU seconds of its processes."""

    rows: int
    seconds: float
    cpu: dict[str, float]
    peak_mib: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds

    @property
    def cpu_per_row(self) -> float:
        """CPU microseconds a row, without the broker's."""
        return sum(self.cpu.values()) / self.rows * 1e6
