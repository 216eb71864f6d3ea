"""A run of the minute job that finds nothing new, launched as the UI launches it.

Its seconds by the clock from the launch to the end, its CPU time, and how much memory Dagster's
processes have more at most than while nothing runs (proportional set size, so that what processes
share counts once): `python -m benchmarks.minute_job`. The bare start of a Python process that
imports Dagster is measured beside it: a run cannot cost less.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import click

from tally.local.stack import Stack as LocalStack
from tests.stacks import Stack

SERVICES = ("dagster-code", "dagster-webserver", "dagster-daemon")
TICK = os.sysconf("SC_CLK_TCK")

_LAUNCH = """
mutation { launchRun(executionParams: {selector: {repositoryLocationName: "tally",
  repositoryName: "__repository__", jobName: "materialize"}, mode: "default"}) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
_STATUS = '{ runOrError(runId: "%s") { ... on Run { status } } }'


def ask(url: str, query: str) -> dict[str, object]:
    """A GraphQL query."""
    request = urllib.request.Request(
        f"{url}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, object] = json.load(response)["data"]
        return answer


def tree(pids: list[int]) -> list[int]:
    """The processes and all that they started."""
    found = list(pids)
    for pid in found:
        with suppress(FileNotFoundError):
            for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in tasks.read_text().split()]
    return found


def mebibytes(pids: list[int]) -> float:
    """The proportional set size of processes."""
    total = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def cpu_seconds(pids: list[int]) -> float:
    """CPU time of processes and of their children that have ended."""
    total = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / TICK


def bare_start() -> float:
    """CPU seconds of a process that only imports Dagster."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import dagster"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def one_run(url: str, pids: list[int]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and the most memory of one run."""
    cpu = cpu_seconds(tree(pids))
    began = time.monotonic()
    launched = ask(url, _LAUNCH)["launchRun"]
    assert isinstance(launched, dict)
    run_id = launched["run"]["runId"]
    most = 0.0
    while True:
        most = max(most, mebibytes(tree(pids)))
        found = ask(url, _STATUS % run_id)["runOrError"]
        assert isinstance(found, dict)
        if found["status"] in ("SUCCESS", "FAILURE"):
            break
        time.sleep(0.1)
    assert found["status"] == "SUCCESS"
    return time.monotonic() - began, cpu_seconds(tree(pids)) - cpu, most


@click.command()
@click.option("--runs", default=5, show_default=True)
def main(runs: int) -> None:
    """Measure on a stack of its own, and print medians."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        stack.tally("up", "--detach", "--without", "kafka,ingest,api")
        try:
            status = LocalStack(stack.home).status()
            url = status.settings.dagster_url
            assert url is not None
            pids = [status.services[name].pid or 0 for name in SERVICES]
            one_run(url, pids)  # the first finds the caches cold
            time.sleep(5)
            idle = mebibytes(tree(pids))
            bare = statistics.median(bare_start() for _ in range(3))
            found = [one_run(url, pids) for _ in range(runs)]
        finally:
            stack.tally("down")
    seconds, cpu, most = (statistics.median(each) for each in zip(*found, strict=True))
    click.echo(f"{'by the clock':<30} {seconds:6.1f} s")
    click.echo(f"{'CPU time':<30} {cpu:6.1f} s, {cpu / bare:.1f} x `import dagster`")
    click.echo(f"{'idle memory':<30} {idle:6.0f} MiB")
    click.echo(f"{'more while it runs':<30} {most - idle:6.0f} MiB")


if __name__ == "__main__":
    main()
