"""The end of the administrator's certificate, as its kubeconfig holds it."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from l4lab import certificate
from l4lab.errors import MachineError
from tests.provider.certificates import FUTURE, PAST, Authority

AUTHORITY = Authority("test")
LATE = datetime(2061, 12, 31, 23, 59, 59, tzinfo=UTC)  # written in another way from 2050 on


def kubeconfig(folder, user):
    path = folder / "kubeconfig"
    path.write_text(json.dumps({"users": [{"name": "admin", "user": user}]}))
    return path


def with_certificate(folder, pem):
    return kubeconfig(folder, {"client-certificate-data": base64.b64encode(pem).decode()})


@pytest.mark.parametrize("ends", [PAST, FUTURE, LATE], ids=["past", "future", "late"])
def test_its_end_is_read(tmp_path, ends):
    pem, _ = AUTHORITY.sign("admin", ends=ends, group="system:masters")
    assert certificate.end_of(with_certificate(tmp_path, pem)) == ends


def test_it_is_read_from_the_way_kubeadm_writes_it_too(tmp_path):
    pem, _ = AUTHORITY.sign("admin", ends=PAST)
    text = base64.b64encode(pem).decode()
    path = tmp_path / "kubeconfig"
    path.write_text(f"users:\n- name: a\n  user:\n    client-certificate-data: {text}\n")
    assert certificate.end_of(path) == PAST


def test_an_expired_one_is_told_with_its_date_and_what_to_do(tmp_path):
    pem, _ = AUTHORITY.sign("admin", ends=PAST)
    with pytest.raises(MachineError) as caught:
        certificate.refuse_expired(with_certificate(tmp_path, pem))
    assert caught.value.brief == "the cluster's certificates have expired"
    assert "2021-03-04 05:06 UTC" in caught.value.reason
    assert "./l4lab reset, then ./l4lab up" in caught.value.resolution


def test_a_good_one_and_a_token_pass(tmp_path):
    pem, _ = AUTHORITY.sign("admin", ends=datetime.now(UTC) + timedelta(days=1))
    certificate.refuse_expired(with_certificate(tmp_path, pem))
    certificate.refuse_expired(kubeconfig(tmp_path, {"token": "abc"}))


@pytest.mark.parametrize(
    "damage", [b"", b"nothing", AUTHORITY.certificate[:200]], ids=["empty", "text", "cut off"]
)
def test_a_damaged_one_is_told(tmp_path, damage):
    with pytest.raises(MachineError, match="the cluster's kubeconfig is damaged"):
        certificate.refuse_expired(with_certificate(tmp_path, damage or b"-"))
