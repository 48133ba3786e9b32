import pytest

from tests.unit.path.world import World


@pytest.fixture
def world():
    return World()
