"""A trained adapter is served by a real vLLM as it is, and answers as in the training's own process."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from finetune import recipes
from finetune.llm.base import load_model
from finetune.llm.prepare import prepare_run
from finetune.llm.review_examples import review_examples
from finetune.llm.score_review import label_probabilities
from finetune.llm.tokens import prompt_ids
from finetune.llm.train import train
from finetune.recipes import Data
from tests.support.vllm import VllmServer

pytestmark = [pytest.mark.train, pytest.mark.vllm, pytest.mark.filterwarnings("ignore::FutureWarning")]
CHANGES = (
    # Explaining alone: no checkpoint is chosen by rating the whole validation split, which takes a minute.
    "data.tasks=['explain']",
    "data.chunk_tokens=256",
    "data.wording=false",
    "stages.0.epochs=0.05",
    "lora.rank=8",
    "lora.alpha=64",
    "optimisation.learning_rate=1e-2",
    "optimisation.batch=8",
    "length.tokens=4096",
    "watch.every=5",
    "watch.checkpoint=5",
    "watch.validation_rows=8",
)


def test_the_served_adapter_rates_as_in_process(vllm_server: VllmServer, tmp_path: Path) -> None:
    """The labels' log-probabilities from vLLM are those of base and adapter in process; the base's differ."""
    from peft import PeftModel

    base = str(vllm_server.folders[vllm_server.base])
    recipe = recipes.override(recipes.load("review"), (*CHANGES, f"base={base}"))
    ready = prepare_run(recipe)
    trained = train(ready, tmp_path / "run", resume=False)
    question = review_examples("validation", Data(tasks=("rate",)))[0]
    prompt = prompt_ids(ready.tokenizer, question)
    served = served_labels(vllm_server, trained.adapter, prompt, ready.label_ids)
    model = PeftModel.from_pretrained(load_model(base, "main", "float32"), str(trained.adapter)).eval()
    pad = ready.tokenizer.pad_token_id
    alone = label_probabilities(model, [prompt], ready.label_ids, pad)[0]
    assert served == pytest.approx(alone, abs=0.005)
    with model.disable_adapter():
        without = label_probabilities(model, [prompt], ready.label_ids, pad)[0]
    assert without != pytest.approx(alone, abs=0.02)


def served_labels(
    server: VllmServer, adapter: Path, prompt: list[int], labels: tuple[int, ...]
) -> list[float]:
    """The labels' probabilities as vLLM gives them for the adapter, loaded while it runs."""
    loaded = httpx.post(
        f"{server.url}/load_lora_adapter",
        json={"lora_name": "trained", "lora_path": str(adapter)},
        timeout=60,
    )
    assert loaded.status_code == 200, loaded.text
    try:
        answer = httpx.post(
            f"{server.url}/completions",
            json={
                **{"model": "trained", "prompt": prompt, "max_tokens": 1, "temperature": 0},
                **{"logprobs": 1, "logprob_token_ids": list(labels), "allowed_token_ids": list(labels)},
                "return_tokens_as_token_ids": True,
            },
            timeout=120,
        )
    finally:
        httpx.post(f"{server.url}/unload_lora_adapter", json={"lora_name": "trained"}, timeout=60)
    assert answer.status_code == 200, answer.text
    import math

    given = answer.json()["choices"][0]["logprobs"]["top_logprobs"][0]
    values = [math.exp(given[f"token_id:{label}"]) for label in labels]
    return [value / sum(values) for value in values]
