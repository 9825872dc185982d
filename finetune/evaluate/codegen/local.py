"""Generation in this process with transformers and peft, for machines without a server.

Adapters are loaded one after another onto one base model, and systems are worked off in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from finetune.evaluate.client import Reply, Sampling
from finetune.evaluate.codegen.benchmark import Prompt
from finetune.evaluate.codegen.generate import SEED_STRIDE, Request
from review_data.errors import BackendError, MissingExtra


class LocalGenerator:
    """A base model from a folder or the hub; a system's `model` is its adapter's folder, "" for the base."""

    def __init__(self, base: str, sampling: Sampling, *, seed: int = 0) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError:
            raise MissingExtra("local", "generating in this process", "transformers") from None
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(base)
            self._base: Any = AutoModelForCausalLM.from_pretrained(base, dtype="auto").eval()
        except (OSError, ValueError) as error:
            raise BackendError(
                f"{base} can't be loaded ({str(error)[:200]}); name a model's folder"
            ) from None
        self._torch: Any = torch
        self._base.to("cuda" if torch.cuda.is_available() else "cpu")
        self._sampling, self._seed = sampling, seed

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Reply]]:
        """One answer at a time, system by system."""
        ordered = sorted(requests, key=lambda request: request.system.model)
        for folder, group in groupby(ordered, key=lambda request: request.system.model):
            model = self._with_adapter(folder)
            for request in group:
                yield request, self._one(model, request)
            if folder:
                self._base = model.unload()

    def _with_adapter(self, folder: str) -> Any:
        if not folder:
            return self._base
        from peft import PeftModel

        return PeftModel.from_pretrained(self._base, folder).eval()

    def _one(self, model: Any, request: Request) -> Reply:
        inputs = self._tokenizer(
            self._text(request.prompt), return_tensors="pt", add_special_tokens=not request.prompt.messages
        )
        inputs = inputs.to(self._base.device)
        self._torch.manual_seed(self._seed + SEED_STRIDE * request.index)
        greedy = self._sampling.temperature == 0
        drawing = {} if greedy else {"temperature": self._sampling.temperature, "top_p": self._sampling.top_p}
        stops = (
            {"stop_strings": list(request.prompt.stop), "tokenizer": self._tokenizer}
            if request.prompt.stop
            else {}
        )
        with self._torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=self._sampling.max_tokens,
                do_sample=not greedy,
                repetition_penalty=1.0,
                pad_token_id=self._tokenizer.eos_token_id,
                **drawing,
                **stops,
            )
        return self._reply(output[0][inputs["input_ids"].shape[1] :], inputs, request.prompt)

    def _reply(self, tokens: Any, inputs: Any, prompt: Prompt) -> Reply:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        for stop in prompt.stop:
            text = text.split(stop)[0]
        cut = len(tokens) >= self._sampling.max_tokens
        size = int(inputs["input_ids"].shape[1])
        return Reply(
            text=text,
            finish_reason="length" if cut else "stop",
            prompt_tokens=size,
            completion_tokens=len(tokens),
        )

    def _text(self, prompt: Prompt) -> str:
        if not prompt.messages:
            return prompt.text
        chat = [message.model_dump() for message in prompt.messages]
        return str(self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
