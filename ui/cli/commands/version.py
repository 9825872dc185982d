"""`terazi version`: the versions to name in a report."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PARTS = ("ast-grep-py", "ruff", "onnxruntime", "pydantic", "torch", "transformers", "peft", "gradio")


def command() -> None:
    """Print the versions of Terazi and of what it stands on."""
    print(f"terazi {_version('terazi')} (Python {platform.python_version()}, {platform.system()})")
    for name in PARTS:
        print(f"  {name:<14} {_version(name)}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
