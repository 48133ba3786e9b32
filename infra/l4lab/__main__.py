"""``python -m l4lab``: what the launcher runs."""

from l4lab.cli import main

main(prog_name="l4lab")
