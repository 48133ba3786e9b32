"""The data of the lab: written once, used by its program, its checks and its guides."""

from __future__ import annotations

from typing import Final

TITLE: Final = "Selectorless: a Service in front of a database that is no pod"
NAMESPACE: Final = "default"
# Why no class can share it on one cluster.
NOT_SHARED: Final = "its database has one schema and one account, and its steps stop the server"

# Today's way: an EndpointSlice says who answers.
SERVICE: Final = "mysql"
SLICE: Final = "mysql-database"
PORT_NAME: Final = "mysql"
PORT: Final = 3306
PROTOCOL: Final = "TCP"

# The old way, on a Service of its own: never both for one.
CLASSIC: Final = "mysql-classic"

# What the role mariadb sets up on the database host; the password's file is among the secrets.
SCHEMA: Final = "lab"
USER: Final = "lab"
PASSWORD_FILE: Final = "mariadb_password"  # noqa: S105  a file's name

# A pod to ask from. Its Secret has the client's options, and its name.
CLIENT: Final = "selectorless-client"
CLIENT_IMAGE: Final = "localhost/l4lab/toolbox:1"
OPTIONS_FILE: Final = "my.cnf"

# Of the database host itself, whatever the cluster holds.
ALWAYS_GREEN: Final = ("database-listens", "grant", "direct")

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Service", SERVICE),
    ("EndpointSlice", SLICE),
    ("Service", CLASSIC),
    ("Endpoints", CLASSIC),
    ("Secret", CLIENT),
    ("Pod", CLIENT),
)
