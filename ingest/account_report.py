"""The account of every offset as a person reads it."""

from rich.console import Console
from rich.table import Table

from ingest.account import Account


def tell(account: Account, console: Console) -> None:
    """Print a row a stream, the faults, and the verdict."""
    numbers = ("events", "duplicates", "dead letters", "erased", "gaps", "lost")
    table = Table("stream", "offsets", box=None, pad_edge=False, header_style="bold")
    for name in numbers:
        table.add_column(name, justify="right")
    for each in account.streams:
        last = each.end_offset - 1
        table.add_row(
            each.stream,
            f"{each.first_offset:,} to {last:,}" if last >= each.first_offset else "none",
            *(
                f"{number:,}"
                for number in (
                    each.events,
                    each.duplicates,
                    each.dead_letters,
                    each.erased,
                    each.gaps,
                    each.lost,
                )
            ),
        )
    console.print(table)
    faults = account.every_fault
    for fault in faults:
        console.print(f"fault: {fault}", style="red", markup=False, soft_wrap=True)
    offsets = sum(each.end_offset - each.first_offset for each in account.streams)
    verdict = f"{len(faults):,} faults" if faults else "every one accounted for, once"
    console.print(f"{offsets:,} offsets of {account.topic}: {verdict}", soft_wrap=True)
