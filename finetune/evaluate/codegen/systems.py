"""Which models are compared: the base, adapters, and their checkpoints, found by name.

A checkpoint is a served model (or a folder) called `<adapter>-checkpoint-<step>`, `<adapter>-step-<step>`,
`<adapter>-<step>`, `<adapter>@<step>` or `<adapter>/checkpoint-<step>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from review_data.domain import Record
from review_data.errors import UserError
from service.backends.endpoint.served import ServedModel

BASE = "base"
STEP = re.compile(r"(?:[-@/_](?:checkpoint|step))?[-@/_](\d+)")


class System(Record):
    """One column of the report: what it is called there, and what the generator must ask for."""

    name: str
    model: str
    adapter: str = ""
    step: int | None = None

    @property
    def is_base(self) -> bool:
        """Whether it is the model without an adapter."""
        return self.adapter == BASE


def served_systems(
    served: Sequence[ServedModel], adapters: Sequence[str], checkpoints: str, base: str = ""
) -> tuple[System, ...]:
    """The systems among a server's models. `checkpoints`: "" for the adapters themselves, "all", or
    steps. `base` names the base model where the server has several.

    Without adapters: the base alone. Raises `UserError` listing what is served when a name is not.
    """
    names = [model.name for model in served]
    bases = [base] if base else [model.name for model in served if model.parent is None]
    found: list[System] = []
    for adapter in adapters or (BASE,):
        if adapter == BASE:
            found += [System(name=BASE, model=_one_base(bases), adapter=BASE)]
        else:
            found += _of_adapter(adapter, names, checkpoints)
    return tuple(found)


def local_systems(adapters: Sequence[str], checkpoints: str) -> tuple[System, ...]:
    """The systems in folders: adapters are given as `name=folder` or a folder."""
    found: list[System] = []
    for given in adapters or (BASE,):
        if given == BASE:
            found.append(System(name=BASE, model="", adapter=BASE))
            continue
        name, _, folder = given.rpartition("=")
        place, label = Path(folder), name or Path(folder).name
        if not place.is_dir():
            raise UserError(f"--adapters: {place} is no folder; give name=folder or `base`")
        inner = {f"{label}/{path.name}": path for path in place.glob("checkpoint-*") if path.is_dir()}
        if not checkpoints:
            found.append(System(name=label, model=str(place), adapter=label))
            continue
        for system in _of_adapter(label, list(inner), checkpoints):
            found.append(system.model_copy(update={"model": str(inner[system.model])}))
    return tuple(found)


def _one_base(bases: Sequence[str]) -> str:
    if len(bases) != 1:
        raise UserError(f"--adapters base: the server has {len(bases)} base models, name one with --model")
    return bases[0]


def _of_adapter(adapter: str, names: Sequence[str], checkpoints: str) -> list[System]:
    if not checkpoints:
        if adapter not in names:
            raise UserError(f"--adapters: `{adapter}` is not served; the server has {', '.join(names)}")
        return [System(name=adapter, model=adapter, adapter=adapter)]
    steps = {step: name for name in names if (step := _step(adapter, name)) is not None}
    wanted = sorted(steps) if checkpoints == "all" else _numbers(checkpoints)
    missing = [str(step) for step in wanted if step not in steps]
    if missing or not wanted:
        have = ", ".join(map(str, sorted(steps))) or "none"
        raise UserError(
            f"--checkpoints: {adapter} has no {', '.join(missing) or 'checkpoint'}; there are: {have}"
        )
    return [
        System(name=f"{adapter}@{step}", model=steps[step], adapter=adapter, step=step) for step in wanted
    ]


def _step(adapter: str, name: str) -> int | None:
    if not name.startswith(adapter):
        return None
    found = STEP.fullmatch(name, len(adapter))
    return int(found[1]) if found else None


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"--checkpoints: `{text}` is neither `all` nor steps like 100,200") from None
