"""What a reviewer reads of an adapter's papers: the temperature and the prompts it was trained on.

The manifest (`manifest.json` beside the weights) is written by `finetune.adapters`; here it is read as
untrusted JSON, and an adapter without one is used as it is.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def temperature_of(folder: Path) -> float:
    """The fitted temperature of the label probabilities; 1.0 where the folder has none."""
    calibration = manifest_of(folder).get("calibration")
    value = calibration.get("temperature") if isinstance(calibration, dict) else None
    if isinstance(value, int | float) and math.isfinite(value) and value > 0:
        return float(value)
    return 1.0


def prompt_version_of(folder: Path) -> str:
    """The prompts an adapter was trained on, "" when it does not say."""
    return str(manifest_of(folder).get("prompt_version", ""))


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest's fields; empty when there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
