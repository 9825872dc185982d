"""What happens beside the training loop: log lines, the progress bar, sealing checkpoints, stopping.

Only the first of several processes writes. Owns no training and no file layout (`finetune.llm.run_folder`).
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from finetune.llm.run_folder import append_log, rewind_log, seal, thin
from review_data.errors import ToolError

# A pickle that nothing reads, and the library's own card.
UNUSED = ("training_args.bin", "README.md")


class Progress:
    """A bar on a terminal's stderr with loss, tokens per second and time left; silent in a pipe."""

    def __init__(self, title: str, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  valid {task.fields[valid]}  {task.fields[speed]} tokens/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(title, total=total, completed=done, loss="–", valid="–", speed="–")
        self._bar.start()

    def step(self, step: int, loss: float, speed: float) -> None:
        """After an optimiser step."""
        self._bar.update(self._task, completed=step, loss=f"{loss:.3f}", speed=f"{speed:,.0f}")

    def validated(self, loss: float) -> None:
        """After a validation reading."""
        self._bar.update(self._task, valid=f"{loss:.3f}")

    def close(self) -> None:
        """Ends the bar."""
        self._bar.stop()


class Watch:
    """The trainer's events for one stage; `supervised` is the share of tokens that are learned.

    It logs every step, seals every checkpoint, stops after `patience` validation readings without a new best,
    and after an interrupt (SIGINT, SIGTERM) once the step is done and saved. A second interrupt is immediate.
    """

    def __init__(
        self, folder: Path, stage: int, run: str, title: str, patience: int, supervised: float
    ) -> None:
        self.folder, self.stage, self.run, self.title = folder, stage, run, title
        self.patience, self.supervised = patience, supervised
        self.interrupted = 0
        self.tokens, self.time = 0.0, time.monotonic()
        self.bar: Progress | None = None
        self.handlers: dict[int, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Takes the interrupt signals; drops log lines that the run is about to write again."""
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        self.time = time.monotonic()
        if state.is_world_process_zero:
            rewind_log(self.folder, self.stage, state.global_step)
            self.bar = Progress(self.title, state.max_steps, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Writes the step or the validation reading down."""
        if not state.is_world_process_zero or not logs:
            return
        if "eval_loss" in logs:
            self._validated(state, float(logs["eval_loss"]))
        elif "loss" in logs:
            self._stepped(state, logs)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stops after an interrupt; reads the validation loss after the last step."""
        if anywhere(self.interrupted, args):
            self.interrupted = max(1, self.interrupted)
            control.should_save = control.should_training_stop = True
        if state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Early stopping, from the state's history alone, so that a resumed run counts on."""
        readings = [row["eval_loss"] for row in state.log_history if "eval_loss" in row]
        if self.patience and len(readings) - 1 - readings.index(min(readings)) >= self.patience:
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seals the checkpoint that was just written."""
        if state.is_world_process_zero:
            place = Path(args.output_dir)
            checkpoint = place / f"checkpoint-{state.global_step}"
            for name in UNUSED:
                (checkpoint / name).unlink(missing_ok=True)
            seal(checkpoint, self.run, state.global_step)
            thin(place)

    def close(self) -> None:
        """Restores the signal handlers and ends the bar; safe to call twice."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}
        if self.bar is not None:
            self.bar.close()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted += 1
        if self.interrupted > 1:
            raise KeyboardInterrupt

    def _stepped(self, state: Any, logs: Any) -> None:
        loss, tokens, now = float(logs["loss"]), float(logs.get("num_tokens", 0)), time.monotonic()
        speed = (tokens - self.tokens) / max(1e-9, now - self.time)
        self.tokens, self.time = tokens, now
        row = {"stage": self.stage, "step": state.global_step, "epoch": state.epoch, "loss": loss}
        rates = {"learning_rate": logs.get("learning_rate"), "gradient_norm": logs.get("grad_norm")}
        speeds = {
            "tokens_per_s": round(speed, 1),
            "supervised_tokens_per_s": round(speed * self.supervised, 1),
        }
        append_log(self.folder, {**row, **rates, **speeds})
        if self.bar is not None:
            self.bar.step(state.global_step, loss, speed)
        if not math.isfinite(loss):
            raise ToolError(
                f"step {state.global_step}: the loss is {loss}; lower optimisation.learning_rate and start "
                "again, "
                "or go on from the last checkpoint with --resume"
            )

    def _validated(self, state: Any, loss: float) -> None:
        append_log(self.folder, {"stage": self.stage, "step": state.global_step, "validation_loss": loss})
        if self.bar is not None:
            self.bar.validated(loss)
        self.time = time.monotonic()


def anywhere(flag: int, args: Any) -> bool:
    """Whether any process has the flag set: all of them stop after the same step, or none does."""
    if args.world_size == 1:
        return bool(flag)
    import torch

    shared = torch.tensor(flag, device=args.device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    return bool(shared)


def as_callback(watch: Watch) -> Any:
    """The watch as a trainer callback (transformers is imported only here)."""
    from transformers import TrainerCallback

    events = ("on_train_begin", "on_log", "on_step_end", "on_evaluate", "on_save")
    callback = TrainerCallback()
    for event in events:
        setattr(callback, event, getattr(watch, event))
    return callback


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
