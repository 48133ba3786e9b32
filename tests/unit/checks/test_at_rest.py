"""Counters of the kernel, which follow what was sent a while later."""

from l4lab.checks.service import at_rest


class Slow:
    """A counter that is brought up to date every two seconds."""

    def __init__(self, *sent):
        self.time = 0.0
        self.sent = sent  # when each connection was made

    def pause(self, seconds):
        self.time += seconds

    def read(self):
        shown = self.time - self.time % 2
        return sum(moment <= shown for moment in self.sent)


def test_what_was_sent_before_is_counted_before():
    kernel = Slow(0.5, 1.9)
    kernel.time = 1.95
    assert kernel.read() == 0
    assert at_rest(kernel, kernel.read) == 2


def test_a_counter_at_rest_is_looked_at_twice_and_no_more():
    kernel = Slow()
    at_rest(kernel, kernel.read)
    assert 2 < kernel.time < 3


def test_one_that_never_rests_is_no_reason_to_wait_for_ever():
    kernel = Slow(*range(1000))
    at_rest(kernel, kernel.read)
    assert kernel.time < 10
