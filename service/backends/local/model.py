"""The language model in this process: batched greedy replies under a grammar, labels by one forward pass.

Prompts, patterns and label tokens are those of the endpoint backend, so that an adapter answers alike in
both. xgrammar masks what does not fit the pattern; a label's probabilities come from the bare logits.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from review_data.errors import BackendError, TeraziError
from review_data.replies import EXPLAIN_PATTERN, FIND_PATTERN, LABELS
from service.backends.adapter import temperature_of
from service.backends.asking import MAX_TOKENS, Form, Label, Question, Text
from service.backends.local.batching import Batcher
from service.backends.local.load import Loaded, check_packages, load

_PATTERNS: Final = {Form.FIND: FIND_PATTERN, Form.EXPLAIN: EXPLAIN_PATTERN}


class LocalModel:
    """A base model with or without an adapter; loaded when first asked, thread-safe."""

    def __init__(
        self,
        model: str,
        adapter: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch: int = 4,
        temperature: float | None = None,
    ) -> None:
        check_packages()
        self._names = model, adapter, device, dtype
        self._batch, self._temperature = batch, temperature
        self._lock = threading.Lock()
        self._loaded: Loaded | BackendError | None = None
        self._batcher: Batcher[Question, Text | Label] = Batcher(
            self._answer, size=batch, same=lambda question: question.form
        )

    @property
    def identity(self) -> str:
        """Names and the files' states: a folder that is written anew is another model."""
        model, adapter, device, dtype = self._names
        return json.dumps(["local", model, _state(model), adapter, _state(adapter), device, dtype])

    @property
    def concurrency(self) -> int:
        """A batch's worth, so that batches fill up."""
        return self._batch

    @property
    def context(self) -> int:
        """The model's context in tokens."""
        return self.loaded.context

    @property
    def temperature(self) -> float:
        """The setting, else the adapter's manifest's, else 1."""
        if self._temperature is not None:
            return self._temperature
        return temperature_of(Path(self._names[1])) if self._names[1] else 1.0

    @property
    def loaded(self) -> Loaded:
        """The model, loaded once; a model that can't be loaded is a `BackendError` for each asker."""
        with self._lock:
            if self._loaded is None:
                try:
                    self._loaded = load(*self._names)
                except TeraziError as error:
                    self._loaded = BackendError(str(error))
            if isinstance(self._loaded, BackendError):
                raise BackendError(str(self._loaded))
            return self._loaded

    @cached_property
    def _grammars(self) -> dict[Form, Any]:
        import xgrammar

        loaded = self.loaded
        vocabulary = xgrammar.TokenizerInfo.from_huggingface(
            loaded.tokenizer, vocab_size=loaded.model.config.vocab_size
        )
        compiler = xgrammar.GrammarCompiler(vocabulary, max_threads=2)
        return {form: compiler.compile_regex(pattern) for form, pattern in _PATTERNS.items()}

    def count(self, text: str) -> int:
        """Tokens of `text` under the model's tokenizer."""
        return len(self.loaded.tokenizer.encode(text, add_special_tokens=False))

    def write(self, question: Question) -> Text:
        """One constrained reply, greedy."""
        reply = self._batcher.ask(question)
        assert isinstance(reply, Text)
        return reply

    def label(self, question: Question) -> Label:
        """The most likely label with all four log-probabilities."""
        reply = self._batcher.ask(question)
        assert isinstance(reply, Label)
        return reply

    def _answer(self, questions: Sequence[Question]) -> Sequence[Text | Label]:
        form = questions[0].form
        try:
            return self._labels(questions) if form is Form.RATE else self._texts(form, questions)
        except TeraziError:
            raise
        except Exception as error:  # out of memory, a broken weight: the chunk fails, with the reason
            first = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise BackendError(f"the local model failed: {type(error).__name__}: {first}") from error

    def _labels(self, questions: Sequence[Question]) -> list[Label]:
        import torch

        loaded, inputs = self.loaded, self._encoded(questions)
        positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)  # padding stands on the left
        with torch.inference_mode():
            output = loaded.model(**inputs, position_ids=positions, logits_to_keep=1, use_cache=False)
            logits = output.logits[:, -1]
            rows = torch.log_softmax(logits.float(), dim=-1)[:, list(loaded.label_ids)].tolist()
        return [Label(LABELS[max(range(4), key=row.__getitem__)], tuple(row)) for row in rows]

    def _texts(self, form: Form, questions: Sequence[Question]) -> list[Text]:
        import torch
        from xgrammar.contrib.hf import LogitsProcessor

        loaded = self.loaded
        inputs = self._encoded(questions)
        with torch.inference_mode():
            rows = loaded.model.generate(
                **inputs,
                max_new_tokens=MAX_TOKENS[form],
                do_sample=False,
                repetition_penalty=1.0,
                logits_processor=[LogitsProcessor([self._grammars[form]] * len(questions))],
                pad_token_id=loaded.tokenizer.pad_token_id,
                eos_token_id=loaded.tokenizer.eos_token_id,
            )
        written = rows[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._text(row) for row in written]

    def _text(self, row: Sequence[int]) -> Text:
        tokenizer = self.loaded.tokenizer
        ended = tokenizer.eos_token_id in row
        return Text(tokenizer.decode(row, skip_special_tokens=True).strip(), cut=not ended)

    def _encoded(self, questions: Sequence[Question]) -> Any:
        loaded = self.loaded
        texts = [
            loaded.tokenizer.apply_chat_template(
                question.sealed(), tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            for question in questions
        ]
        batch = loaded.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        longest = batch["input_ids"].shape[1]
        if longest > loaded.context:
            raise BackendError(f"a prompt has {longest} tokens, the model takes {loaded.context}")
        return batch.to(loaded.device)


def _state(name: str) -> list[list[str | int]]:
    """Name, size and time of the weights in a folder; nothing for a hub id."""
    folder = Path(name)
    if not name or not folder.is_dir():
        return []
    files = sorted((*folder.glob("*.safetensors"), *folder.glob("manifest.json")))
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
