"""``python -m l4lab``: what the launcher runs."""

from l4lab.cli import main

if __name__ == "__main__":
    main(prog_name="l4lab")
