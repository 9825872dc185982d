"""Fixtures of more than one test file."""

pytest_plugins = ["tests.support.git", "tests.support.vllm"]
