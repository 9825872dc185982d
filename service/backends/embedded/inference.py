"""The exported encoder at work: a folder's `model.onnx` and `tokenizer.json`, texts in, logits out.

What logits mean is in `severity_model`. Imports no pydantic: `worker` starts with this file alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from review_data.errors import UserError
from service.backends.embedded.encoding import Encoded, Encoder, Segments
from service.telemetry import switch_off

CORES: Final = min(8, os.cpu_count() or 1)


class Network:
    """A loaded network. Thread-safe: onnxruntime sessions and tokenizers are."""

    def __init__(self, encoder: Encoder, session: Any) -> None:
        self.encoder, self.session = encoder, session

    @classmethod
    def load(cls, folder: Path, max_tokens: int, *, fused: bool = False, threads: int = 1) -> Network:
        """From a model folder; `UserError` when a file is wrong. A `fused` graph needs no optimising."""
        switch_off()
        with _without_blas_threads():
            import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        if fused:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        try:
            session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise UserError(f"{folder / 'model.onnx'} can't be loaded ({error}); export it again") from error
        return cls(Encoder.load(folder / "tokenizer.json", max_tokens), session)

    def logits(self, inputs: Sequence[Segments]) -> list[list[float]]:
        """Per input the three thresholds' logits.

        Each input is a run of its own: activations are quantised per run, so that a batch would let one
        issue's rating depend on its neighbours; and no time goes into padding. Runs are spread over the
        processor's cores; equal inputs are run once.
        """
        different = list(dict.fromkeys(inputs))
        encoded = self.encoder.encode(different)
        with ThreadPoolExecutor(max(1, min(CORES, len(encoded)))) as pool:
            rows = dict(zip(different, pool.map(self._run, encoded), strict=True))
        return [rows[shown] for shown in inputs]

    def _run(self, encoded: Encoded) -> list[float]:
        import numpy as np

        feeds = {"input_ids": [encoded.ids], "token_type_ids": [encoded.types]}
        arrays = {name: np.asarray(rows, dtype=np.int64) for name, rows in feeds.items()}
        return [float(value) for value in self.session.run(None, arrays)[0][0]]


@contextmanager
def _without_blas_threads() -> Iterator[None]:
    """For numpy's first import: its OpenBLAS starts a thread per core, and they spin for nothing here."""
    name = "OPENBLAS_NUM_THREADS"
    if "numpy" in sys.modules or name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
