"""What ``shutil.disk_usage`` answers with, for tests that answer in its place."""

from __future__ import annotations

from collections import namedtuple

Usage = namedtuple("Usage", "total used free")
