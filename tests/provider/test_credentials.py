"""A kubeconfig's keys: they are in no file that could be left behind."""

import pytest
import yaml

from tests.provider.certificates import FUTURE
from tests.provider.engine import Engine
from tests.provider.test_kinds import CORE, META

pytestmark = pytest.mark.server


@pytest.fixture
def asked(server, namespace, tmp_path):
    """Has the provider make an object, is killed, and returns what is in the folder for files."""

    def ask(environment, **config):
        left = tmp_path / "temporary"
        left.mkdir(exist_ok=True)
        with Engine({"TMPDIR": str(left), **environment}) as engine:
            engine.namespace = namespace
            engine.configure(**config)
            engine.delete(engine.create(CORE + "ConfigMap", "it", {"metadata": META}))
            engine.process.kill()
        return list(left.rglob("*"))

    return ask


def test_from_a_file(server, asked, tmp_path):
    server.write_kubeconfig(tmp_path / "config", ends=FUTURE)
    assert asked({"KUBECONFIG": str(tmp_path / "config")}) == []


def test_from_text(server, asked, tmp_path):
    server.write_kubeconfig(tmp_path / "config", ends=FUTURE)
    assert asked({"KUBECONFIG": "/nowhere"}, kubeconfig=(tmp_path / "config").read_text()) == []


def test_files_it_names_are_found_beside_it(server, asked, tmp_path):
    (tmp_path / "beside").mkdir()
    path = tmp_path / "beside" / "config"
    server.write_kubeconfig(path)
    config = yaml.safe_load(path.read_text())
    cluster = config["clusters"][0]["cluster"]
    del cluster["certificate-authority-data"]
    cluster["certificate-authority"] = "authority.pem"
    path.with_name("authority.pem").write_bytes(server.certificate.read_bytes())
    path.write_text(yaml.safe_dump(config))
    assert asked({"KUBECONFIG": f"{tmp_path / 'none'}:{path}"}) == []
