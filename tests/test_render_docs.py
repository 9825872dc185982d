"""The pages on formats and CI say what the program does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from service.render import FORMATS, render
from tests.support.hostile_reviews import SAMPLE
from ui.cli.main import main

DOCS = Path(__file__).parent.parent / "docs"
PATCH = "--- a/a.py\n+++ b/a.py\n@@ -1 +1,2 @@\n x = 1\n+y = 2\n"


def snippets(page: str, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_every_snippet_for_ci_is_yaml_and_names_real_formats() -> None:
    """The snippets parse, and their --format and --gate exist."""
    blocks = snippets("ci.md", "yaml") + snippets("hook.md", "yaml")
    assert len(blocks) >= 6
    for block in blocks:
        assert yaml.safe_load(block)
    text = "\n".join(blocks)
    assert set(re.findall(r"--format (\w+)", text)) <= set(FORMATS)
    assert set(re.findall(r"--gate (\w+)", text)) == {"high"}


def test_every_format_and_json_key_is_described() -> None:
    """docs/formats.md has each format, and each key of the JSON."""
    page = (DOCS / "formats.md").read_text()
    for name in FORMATS:
        assert f"| `{name}` |" in page
    printed = json.loads(render(SAMPLE, "json"))
    for key in {*printed, *printed["findings"][0], *printed["skips"][0]}:
        assert re.search(rf"`([a-z]+\[\]\.)?{key}`", page), key


def test_a_terminal_that_knows_ascii_only_gets_escapes(tmp_path: Path) -> None:
    """What the output's encoding can't show is written out, not an error."""
    patch = tmp_path / "ü日.patch"
    patch.write_text(PATCH)
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli.main", "review", "--patch", str(patch)],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        cwd=DOCS.parent,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\xfc\\u65e5.patch" in done.stdout


def test_counts_are_said_beside_reports_without_a_place_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GitLab's and reviewdog's reports, and every report in a file, come with a line on standard error."""
    patch = tmp_path / "a.patch"
    patch.write_text(PATCH)
    for arguments in (["gitlab"], ["rdjson"], ["json", "--output", str(tmp_path / "out.json")]):
        main(["review", "--patch", str(patch), "--format", *arguments])
        assert "terazi: No findings at medium or above." in capsys.readouterr().err
    main(["review", "--patch", str(patch), "--format", "json"])
    assert capsys.readouterr().err == ""
