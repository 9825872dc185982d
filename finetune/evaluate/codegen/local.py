"""Generation in this process with transformers and peft, for machines without a server.

Systems are worked off in turn, each loaded by the local backend's loader: safetensors alone, no foreign code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from finetune.evaluate.client import Reply, Sampling
from finetune.evaluate.codegen.benchmark import Prompt
from finetune.evaluate.codegen.generate import SEED_STRIDE, Request
from service.backends.local.load import Loaded, check_packages, load


class LocalGenerator:
    """A base model from a folder or the hub; a system's `model` is its adapter's folder, "" for the base."""

    def __init__(self, base: str, sampling: Sampling, *, seed: int = 0) -> None:
        check_packages()
        self._base, self._sampling, self._seed = base, sampling, seed

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Reply]]:
        """One answer at a time, system by system; `SettingsError` for a model that can't be loaded."""
        ordered = sorted(requests, key=lambda request: request.system.model)
        for folder, group in groupby(ordered, key=lambda request: request.system.model):
            loaded = load(self._base, folder, "auto", "auto")
            for request in group:
                yield request, self._one(loaded, request)

    def _one(self, loaded: Loaded, request: Request) -> Reply:
        import torch

        inputs = loaded.tokenizer(
            _text(loaded, request.prompt), return_tensors="pt", add_special_tokens=not request.prompt.messages
        )
        inputs = inputs.to(loaded.device)
        torch.manual_seed(self._seed + SEED_STRIDE * request.index)
        greedy = self._sampling.temperature == 0
        drawing = {} if greedy else {"temperature": self._sampling.temperature, "top_p": self._sampling.top_p}
        stops = (
            {"stop_strings": list(request.prompt.stop), "tokenizer": loaded.tokenizer}
            if request.prompt.stop
            else {}
        )
        with torch.inference_mode():
            output = loaded.model.generate(
                **inputs,
                max_new_tokens=self._sampling.max_tokens,
                do_sample=not greedy,
                repetition_penalty=1.0,
                pad_token_id=loaded.tokenizer.eos_token_id,
                **drawing,
                **stops,
            )
        return self._reply(loaded, output[0], int(inputs["input_ids"].shape[1]), request.prompt)

    def _reply(self, loaded: Loaded, output: Any, size: int, prompt: Prompt) -> Reply:
        tokens = output[size:]
        text = loaded.tokenizer.decode(tokens, skip_special_tokens=True)
        for stop in prompt.stop:
            text = text.split(stop)[0]
        ended = int(tokens[-1]) == loaded.tokenizer.eos_token_id if len(tokens) else True
        return Reply(
            text=text,
            finish_reason="stop" if ended or len(tokens) < self._sampling.max_tokens else "length",
            prompt_tokens=size,
            completion_tokens=len(tokens),
        )


def _text(loaded: Loaded, prompt: Prompt) -> str:
    if not prompt.messages:
        return prompt.text
    chat = [message.model_dump() for message in prompt.messages]
    return str(loaded.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
