"""``python -m l4lab``: what the launcher runs."""

import os

# Ansible is started by a fork of this process. In such a child gRPC, which Pulumi's automation
# brings along, takes up its work again, finds its files closed and aborts the child, before it has
# become Ansible (https://github.com/grpc/grpc/issues/43055: 3 of 100 here). gRPC reads this once.
# Only for commands: with it, a fork may not use gRPC after its parent did, as a class in a program
# that deploys by itself would.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from l4lab.cli import main  # only now: it may load gRPC

if __name__ == "__main__":
    main(prog_name="l4lab")
