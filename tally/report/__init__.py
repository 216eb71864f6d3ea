"""`tally report`: the first plots anybody asks for, in one HTML page that loads nothing."""

from tally.report.command import report

__all__ = ["report"]
