"""Fixtures of more than one test file, and a process that can be interrupted."""

import signal

pytest_plugins = ["tests.support.git", "tests.support.vllm"]

# A job that a shell starts in the background ignores SIGINT, and so would every program that a test
# interrupts; a handler here gives them the default back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
