"""Export: a merged network to ONNX with int8 weights, its tokenizer and its manifest, in one folder.

The folder is what `service.backends.embedded.severity_model` reads. Dynamic int8 quantisation per channel,
embeddings included; parity with the torch network is measured, not assumed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.severity.config import sha256_of
from finetune.severity.training import predict
from review_data.errors import ToolError
from review_data.jsonl import write_atomically
from review_data.rater_input import RaterInput
from service.backends.embedded.encoding import Encoder
from service.backends.embedded.severity_model import Manifest, SeverityModel
from service.telemetry import switch_off

OPSET = 17
LARGEST_BYTES = 25_000_000
MIGRATION = 0.7


def export_onnx(net: Any, folder: Path) -> None:
    """Writes `model.onnx` (int8): ids and token types (batch, length) to logits (batch, 3), no padding."""
    switch_off()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        whole, small = Path(scratch) / "float.onnx", Path(scratch) / "model.onnx"
        _export_float(net, whole)
        quantize_dynamic(
            whole,
            small,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"MatMulConstBOnly": True},
        )
        fuse(small)
        if small.stat().st_size > LARGEST_BYTES:
            raise ToolError(f"the exported model has {small.stat().st_size} bytes, more than {LARGEST_BYTES}")
        small.replace(folder / "model.onnx")


def smooth(net: Any, encoder: Encoder, samples: Sequence[RaterInput]) -> None:
    """Evens out the channels that go into the second feed-forward matrices, which int8 hurts most.

    Each channel is divided by a factor and its row of the matrix multiplied by it, so that only the rounding
    changes. The factor is SmoothQuant's (Xiao et al. 2023) with migration strength 0.7, from the largest
    activation on `samples`.
    """
    import torch

    class Evened(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, dense: Any, factor: Any) -> None:
            super().__init__()
            self.register_buffer("inverse", 1 / factor)
            dense.weight = torch.nn.Parameter(dense.weight.detach() * factor)
            self.dense = dense

        def forward(self, hidden: Any) -> Any:
            return self.dense(hidden * self.inverse)

    outputs = [layer.output for layer in net.encoder.encoder.layer]
    for output, largest in zip(outputs, _largest_inputs(net, encoder, samples), strict=True):
        rows = output.dense.weight.detach().abs().amax(0)
        factor = largest.clamp(min=1e-3) ** MIGRATION / rows.clamp(min=1e-4) ** (1 - MIGRATION)
        output.dense = Evened(output.dense, factor)


def _largest_inputs(net: Any, encoder: Encoder, samples: Sequence[RaterInput]) -> list[Any]:
    """Per layer the largest absolute input of each channel of the second feed-forward matrix."""
    import torch

    matrices = [layer.output.dense for layer in net.encoder.encoder.layer]
    found = [torch.zeros(dense.in_features) for dense in matrices]

    def watch(number: int) -> Any:
        def look(_: Any, given: tuple[Any, ...]) -> None:
            found[number] = torch.maximum(found[number], given[0].detach().abs().amax((0, 1)))

        return matrices[number].register_forward_pre_hook(look)

    hooks = [watch(number) for number in range(len(matrices))]
    predict(net, encoder, samples, batch_size=1)
    for hook in hooks:
        hook.remove()
    return found


def fuse(file: Path) -> None:
    """Saves the operators joined, as onnxruntime would join them at every load: loaded in half the time.

    "Extended" is the last level that does not depend on the processor. Its joined layer norm is left out:
    onnxruntime runs it several times slower than the two operators that it is made of.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    fused = file.with_suffix(".fused.onnx")
    options.optimized_model_filepath = str(fused)
    onnxruntime.InferenceSession(
        str(file),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["SkipLayerNormFusion"],
    )
    fused.replace(file)


def _export_float(net: Any, file: Path) -> None:
    import torch

    class Unpadded(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net.eval()

        def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
            return self.net(input_ids, token_type_ids, torch.ones_like(input_ids))

    net.encoder.set_attn_implementation("eager")
    example = torch.ones((1, 16), dtype=torch.long)
    axes = {name: {0: "batch", 1: "length"} for name in ("input_ids", "token_type_ids")}
    with warnings.catch_warnings():
        # The tracing exporter warns about the branches that transformers takes on constants.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Unpadded(),
            (example, torch.zeros_like(example)),
            file,
            input_names=list(axes),
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def write_folder(net: Any, base: Path, folder: Path, manifest: dict[str, Any]) -> Manifest:
    """Writes the model folder; `manifest` is completed by the model's digest."""
    export_onnx(net, folder)
    shutil.copyfile(base / "tokenizer.json", folder / "tokenizer.json")
    digest = sha256_of(folder / "model.onnx")
    complete = Manifest.model_validate({**manifest, "model_sha256": digest, "fused": True})
    write_manifest(folder, complete)
    return complete


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json`."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_atomically(folder / "manifest.json", text + "\n")


def parity(net: Any, encoder: Encoder, folder: Path, inputs: Sequence[RaterInput]) -> dict[str, float]:
    """How far the exported model is from the network: mean and largest difference in probability
    (uncalibrated, any level), and the share of inputs that get the same severity."""
    from service.backends.embedded.severity_model import Calibration, decide

    exported = SeverityModel.load(folder).logits(inputs)
    plain = Calibration()
    pairs = [
        (plain.probabilities(left), plain.probabilities(right))
        for left, right in zip(predict(net, encoder, inputs), exported, strict=True)
    ]
    gaps = [max(abs(x - y) for x, y in zip(a.values(), b.values(), strict=True)) for a, b in pairs]
    same = sum(decide(a) is decide(b) for a, b in pairs)
    return {
        "mean_difference": round(sum(gaps) / len(gaps), 5),
        "largest_difference": round(max(gaps), 5),
        "same_severity": round(same / len(pairs), 4),
    }
