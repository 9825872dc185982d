"""Which language a path is written in, by its name alone; the dataset's names (`terraform` for HCL)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

_BY_SUFFIX: Final = {
    "python": "py pyi pyw",
    "typescript": "ts mts cts tsx",
    "javascript": "js mjs cjs jsx",
    "go": "go",
    "java": "java",
    "kotlin": "kt kts",
    "csharp": "cs",
    "c": "c h",
    "cpp": "cc cpp cxx c++ hh hpp hxx",
    "rust": "rs",
    "ruby": "rb rake gemspec",
    "php": "php",
    "shell": "sh bash zsh ksh",
    "yaml": "yml yaml",
    "terraform": "tf tfvars hcl",
    "sql": "sql",
    "dockerfile": "dockerfile",
    "swift": "swift",
    "scala": "scala",
    "json": "json",
    "toml": "toml",
    "markdown": "md markdown",
    "html": "html htm vue svelte",
    "css": "css scss sass less",
    "xml": "xml",
}
_SUFFIXES: Final = {suffix: name for name, suffixes in _BY_SUFFIX.items() for suffix in suffixes.split()}
_NAMES: Final = {
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "makefile": "make",
    "gemfile": "ruby",
    "rakefile": "ruby",
    "vagrantfile": "ruby",
}


def language_of(path: str) -> str:
    """The language's name, "" when the path does not tell. `Dockerfile.prod` counts as a Dockerfile."""
    name = PurePosixPath(path).name.lower()
    stem = name.split(".", 1)[0]
    return (
        _NAMES.get(name)
        or _SUFFIXES.get(name.rsplit(".", 1)[-1] if "." in name else "")
        or _NAMES.get(stem, "")
    )
