"""When an open loop sends: a fixed schedule, and a clock that wakes for it.

Latency counts from the time at which a request was *intended* to go, whether or not the proxy, the connections or the
generator were ready for it. A generator that waits for answers before it sends would leave out just the requests that
a stall delays (coordinated omission).

Event loops round timers to milliseconds; at 1,000 requests a second that would be the whole interval. So the clock is
a timerfd, exact to microseconds. The standard library has it from Python 3.13 on; until then it takes ctypes.
"""

import ctypes
import os

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_SECOND_NS = 1_000_000_000


class Schedule:
    """Request k goes at start + k / rate. Integers, so that no error adds up over a long run."""

    def __init__(self, start_ns: int, rate: int) -> None:
        self.start_ns, self.rate = start_ns, rate

    def intended_ns(self, number: int) -> int:
        return self.start_ns + number * _SECOND_NS // self.rate

    def due(self, now_ns: int) -> int:
        """How many requests should have gone by now: those whose intended time is not later."""
        if now_ns < self.start_ns:
            return 0
        # intended_ns rounds down: the largest k with floor(k * s / rate) <= elapsed.
        return ((now_ns - self.start_ns + 1) * self.rate - 1) // _SECOND_NS + 1


class _Itimerspec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "first_s", "first_ns")]


class AlarmClock:
    """A descriptor that becomes readable at a given time, and unreadable again when a later one is set."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def wake_at(self, time_ns: int) -> None:
        """`time_ns` as time.monotonic_ns() counts; at once if it is over. About 2 us."""
        times = _Itimerspec(0, 0, *divmod(time_ns, _SECOND_NS))
        if self._libc.timerfd_settime(self.fd, _ABSOLUTE, ctypes.byref(times), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        os.close(self.fd)
