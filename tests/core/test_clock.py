import time

from pilot_core.clock import Clock, SystemClock


def test_wall_time_is_the_epoch_s_and_monotonic_time_goes_on():
    clock: Clock = SystemClock()
    before = time.time()
    first, then = clock.mono(), clock.mono()
    assert before <= clock.now() <= time.time()
    assert first <= then
