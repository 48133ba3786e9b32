"""A command as a learner types it runs what the check ran."""

import shlex

import pytest

from l4lab.checks import Vantage, Where
from l4lab.checks.look import as_typed
from l4lab.proof.model import Mend

NODE = Vantage(Where.NODE, "k8s-node01")


@pytest.mark.parametrize(
    "argv",
    [
        ["ipvsadm", "-Ln"],
        ["curl", "http://10.10.3.4:80/?a&b"],
        ["mariadb", "-e", "SELECT COUNT(*) FROM user"],
        ["sh", "-c", "echo 'it is' \"$HOME\""],
    ],
)
def test_a_machines_shell_reads_the_words_that_were_run(argv):
    _l4lab, verb, machine, *words = shlex.split(as_typed(NODE, argv))
    assert (verb, machine) == ("ssh", "k8s-node01")
    # ssh hands its words on as one line.
    assert shlex.split(" ".join(words)) == argv


def test_a_plain_command_stays_plain():
    typed = as_typed(NODE, ["curl", "http://10.10.3.4:80/"])
    assert typed == "./l4lab ssh k8s-node01 curl http://10.10.3.4:80/"


def test_what_takes_a_difference_away_is_typed_alike():
    mend = Mend(where="k8s-node01", argv=("mariadb", "-e", "DROP TABLE note"))
    assert shlex.split(str(mend))[3] == "mariadb -e 'DROP TABLE note'"
