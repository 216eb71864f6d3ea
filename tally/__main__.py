"""`python -m tally`: the command line without its script on the PATH."""

from tally.cli import main

main()
