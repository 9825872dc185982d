"""The machine and what to do on it: dtype, packing or length grouping, micro-batches, checkpointing.

`look` asks the machine; everything else is a pure function of its answer, so that every case can be tested
anywhere. The choices are measured by `bench/train.py`.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any, Final, Literal

from finetune.recipes import Lora, Recipe
from review_data.domain import Record
from review_data.errors import UserError

DType = Literal["float32", "float16", "bfloat16"]
BYTES: Final[dict[str, int]] = {"float32": 4, "float16": 2, "bfloat16": 2}
CPU_TOKENS: Final = 4096
GPU_TOKENS: Final = 32_768
ROOM: Final = 0.85


class Machine(Record):
    """What training would run on; memory is what is free, in bytes."""

    kind: Literal["cpu", "cuda", "mps"]
    name: str
    processes: int = 1
    bf16: bool = False
    flash_attention: bool = False
    memory: int


class Shape(Record):
    """What memory and time depend on in a base model."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    queries: int
    keys: int
    vocabulary: int
    context: int


class Plan(Record):
    """How a recipe runs on a machine; fixed at the first start, so that a resumed run repeats it."""

    dtype: DType
    packing: bool
    sharing: bool = False
    micro_batch: int
    accumulation: int
    checkpointing: bool
    memory: int
    attention: str = "sdpa"


def look() -> Machine:
    """This process's accelerator, or the CPU; several processes are counted from the launcher's variables."""
    import psutil
    import torch

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        device = int(os.environ.get("LOCAL_RANK", "0"))
        free, _ = torch.cuda.mem_get_info(device)
        return Machine(
            kind="cuda",
            name=torch.cuda.get_device_name(device),
            processes=processes,
            bf16=torch.cuda.is_bf16_supported(),
            flash_attention=importlib.util.find_spec("flash_attn") is not None,
            memory=free,
        )
    if torch.backends.mps.is_available():
        return Machine(
            kind="mps", name="Apple GPU", processes=processes, memory=psutil.virtual_memory().available
        )
    return Machine(
        kind="cpu", name="CPU", processes=processes, memory=psutil.virtual_memory().available // processes
    )


def shape_of(config: Any) -> Shape:
    """A base's shape from its configuration, parameters counted without allocating any."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        queries=config.num_attention_heads * head,
        keys=config.num_key_value_heads * head,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
    )


def dtype_for(machine: Machine) -> DType:
    """bf16 where the card has it, fp16 on older cards, fp32 elsewhere (a CPU's bf16 is slower)."""
    if machine.kind != "cuda":
        return "float32"
    return "bfloat16" if machine.bf16 else "float16"


def packs(machine: Machine) -> bool:
    """Packing needs attention that skips other rows' tokens; without it, grouping by length wastes less."""
    return machine.kind == "cuda" and machine.flash_attention


def make_plan(
    machine: Machine, recipe: Recipe, shape: Shape, longest: int, mean: float, sharing: bool = False
) -> Plan:
    """The fastest plan that fits rows of `longest` and on average `mean` tokens.

    `sharing`: the rows begin alike, so that their prefix is computed once per micro-batch.
    `UserError` when the base does not fit in memory, or the rows not in its context.
    """
    _check_context(recipe, shape, longest)
    dtype, packing = dtype_for(machine), packs(machine) and not sharing
    row = recipe.length.tokens if packing else longest
    share = _share(recipe, machine)
    room = int(machine.memory * ROOM)
    fixed = fixed_bytes(shape, recipe.lora, dtype)
    if fixed + activation_bytes(shape, row, dtype, checkpointing=True) > room:
        raise UserError(_too_big(recipe, fixed, row, machine))
    fits = [
        (checkpointing, rows)
        for checkpointing in (False, True)
        for rows in _micro_batches(share, machine, row, packing)
        if fixed + activation_bytes(shape, rows * row, dtype, checkpointing) <= room
    ]
    checkpointing, rows = fits[0]
    return Plan(
        dtype=dtype,
        packing=packing,
        sharing=sharing,
        micro_batch=rows,
        accumulation=max(1, round(share * mean / row)) if packing else share // rows,
        checkpointing=checkpointing,
        memory=fixed + activation_bytes(shape, rows * row, dtype, checkpointing),
        attention="flash_attention_2" if packing else "sdpa",
    )


def fixed_bytes(shape: Shape, lora: Lora, dtype: DType) -> int:
    """Base weights, and per trained weight 16 bytes: fp32 value, gradient and AdamW's two moments."""
    return shape.parameters * BYTES[dtype] + 16 * trained_parameters(shape, lora)


def trained_parameters(shape: Shape, lora: Lora) -> int:
    """rank × (in + out) for every adapted linear layer."""
    h, i, q, k = shape.hidden, shape.intermediate, shape.queries, shape.keys
    sizes = {
        "q_proj": h + q,
        "k_proj": h + k,
        "v_proj": h + k,
        "o_proj": q + h,
        "gate_proj": h + i,
        "up_proj": h + i,
        "down_proj": i + h,
    }
    chosen = sizes if lora.modules == "all-linear" else {name: sizes.get(name, 0) for name in lora.modules}
    return lora.rank * shape.layers * sum(chosen.values())


def activation_bytes(shape: Shape, tokens: int, dtype: DType, checkpointing: bool) -> int:
    """What the backward pass keeps, counted as in Korthikanti et al. 2022: gated MLP, fused attention.

    Per token and layer: two norms (in fp32) and their outputs, queries, keys, values, attention and its
    output, three MLP activations and their product. With checkpointing: each layer's input, and one layer.
    The output layer is computed in tiles; its share is the hidden states alone.
    """
    layer = tokens * (
        BYTES[dtype] * (5 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 4 * shape.intermediate)
        + 8 * shape.hidden
    )
    inputs = tokens * shape.hidden * BYTES[dtype]
    return (shape.layers * inputs + layer if checkpointing else shape.layers * layer) + 2 * inputs


def _micro_batches(share: int, machine: Machine, row: int, packing: bool) -> list[int]:
    """Divisors of a process's share of the batch, largest first, within what was measured to be useful."""
    tokens = CPU_TOKENS if machine.kind == "cpu" else GPU_TOKENS
    most = 1 if packing else max(1, tokens // row)
    return [rows for rows in range(min(share, most), 0, -1) if share % rows == 0]


def _share(recipe: Recipe, machine: Machine) -> int:
    batch = recipe.optimisation.batch
    if batch % machine.processes:
        raise UserError(
            f"optimisation.batch = {batch} can't be divided over {machine.processes} processes; "
            "choose a multiple, or start fewer processes"
        )
    return batch // machine.processes


def _check_context(recipe: Recipe, shape: Shape, longest: int) -> None:
    if longest > shape.context:
        raise UserError(
            f"length.tokens = {recipe.length.tokens}: a row of {longest} tokens is longer than the base's "
            "context of "
            f"{shape.context}; lower length.tokens or choose a base with a longer context"
        )


def _too_big(recipe: Recipe, fixed: int, row: int, machine: Machine) -> str:
    return (
        f"base `{recipe.base}` does not fit: weights and optimiser need {fixed / 2**30:.1f} GiB and a row of "
        f"{row} "
        f"tokens more, but {machine.name} has {machine.memory / 2**30:.1f} GiB free; choose a smaller base, "
        "a lower "
        "lora.rank or length.tokens, or free memory"
    )
