"""The demo ends politely: what it started is stopped however it is told to stop."""

from __future__ import annotations

import signal

import pytest

from training.demo import term_as_interrupt


def test_term_is_an_interrupt() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        term_as_interrupt()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
