"""Published digests are understood, and what is remembered of a first use stays."""

from __future__ import annotations

import pytest

from l4lab.bundle.pins import FirstUse, published
from l4lab.errors import BundleError

DIGEST = "0123456789abcdef" * 4


def test_two_that_use_a_file_first_agree(tmp_path):
    first_use = FirstUse(tmp_path / "upstream.lock")
    first_use.remember("a/v1/x", sha256="a" * 64, told_by="http://one/")
    first_use.remember("a/v1/x", sha256="a" * 64, told_by="http://two/")
    with pytest.raises(BundleError, match="another than at its first use"):
        first_use.remember("a/v1/x", sha256="b" * 64, told_by="http://two/")
    assert first_use.digest("a/v1/x") == "a" * 64


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{DIGEST}\n", DIGEST),
        (DIGEST.upper(), DIGEST),
        (f"{DIGEST}  kubectl\n", DIGEST),
        (f"{'0' * 64}  kubectl-convert\n{DIGEST} *dist/kubectl\n", DIGEST),
        (f"{DIGEST}  kubectl.exe\n", None),
        (f"{DIGEST}\n{DIGEST}\n", None),
        ("<html>not found</html>", None),
        (DIGEST[:-1], None),
        (f"{DIGEST * 2}  kubectl", None),
        ("", None),
    ],
)
def test_published_digests_are_understood(text, found):
    assert published(text, "kubectl") == found
