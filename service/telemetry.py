"""Keeps libraries from telling their makers that and how they are used. Owns the variables that they heed."""

from __future__ import annotations

import os
from typing import Final

_OFF: Final = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: events and a device's id, in the home folder and over HTTPS
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers, and trl for every trainer
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # transformers: has a service convert weights that it does not get
    "GRADIO_ANALYTICS_ENABLED": "False",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
}


def switch_off() -> None:
    """For this process and those it starts, before a library is imported. What the user has set stays."""
    for name, value in _OFF.items():
        os.environ.setdefault(name, value)
