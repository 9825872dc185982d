"""One stage's training on trl: arguments from recipe and plan, the weighted loss, and the adapter's start.

Owns no files but the checkpoints that the trainer writes; `finetune.llm.watch` logs, seals and stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from finetune.llm.base import load_model
from finetune.llm.batches import Padded, Shared
from finetune.llm.hardware import Machine, Plan
from finetune.llm.order import GroupedOrder
from finetune.llm.prepare import Prepared, StageRows
from finetune.llm.run_folder import RunFacts
from finetune.llm.tokens import IGNORED, Encoded
from finetune.recipes import Lora, Recipe, Stage

# https://docs.vllm.ai serves LoRA on these; the output layer and the embeddings stay as they are.
LINEAR: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def build(
    facts: RunFacts,
    number: int,
    model: Any,
    prepared: Prepared,
    rows: StageRows,
    folder: Path,
    callbacks: list[Any],
) -> Any:
    """A trainer for stage `number`, ready to run or to resume; checkpoints go to `folder`."""
    from transformers import PrinterCallback

    recipe, plan = facts.recipe, facts.plan
    validation = rows.validation.rows[: recipe.watch.validation_rows]
    trainer = _trainer_class(prepared.label_ids, recipe.data.label_weight)(
        model=model,
        args=_arguments(recipe, recipe.stages[number - 1], plan, facts.machine, folder),
        train_dataset=_dataset(rows.train.rows, recipe.length.tokens, plan.packing),
        eval_dataset=_dataset(validation, recipe.length.tokens, plan.packing),
        data_collator=_collator(plan, prepared.tokenizer.pad_token_id),
        processing_class=prepared.tokenizer,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def open_model(recipe: Recipe, plan: Plan, start: Path | None) -> Any:
    """The base with a trainable adapter: a new one, or the one in `start` (the stage before's choice)."""
    from peft import PeftModel, get_peft_model
    from transformers import set_seed

    base = load_model(recipe.base, recipe.revision, plan.dtype, plan.attention)
    base.config.use_cache = False
    set_seed(recipe.optimisation.seed)
    if start is not None:
        return PeftModel.from_pretrained(base, str(start), is_trainable=True)
    return get_peft_model(base, lora_config(recipe.lora), revision=recipe.revision)


def lora_config(lora: Lora) -> Any:
    """PEFT's configuration; nothing but linear layers is trained, so that vLLM loads the adapter as it is."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(LINEAR if lora.modules == "all-linear" else lora.modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


def _arguments(recipe: Recipe, stage: Stage, plan: Plan, machine: Machine, folder: Path) -> Any:
    from trl import SFTConfig

    move, watch = recipe.optimisation, recipe.watch
    return SFTConfig(
        output_dir=str(folder),
        num_train_epochs=stage.epochs,
        per_device_train_batch_size=plan.micro_batch,
        per_device_eval_batch_size=plan.micro_batch,
        gradient_accumulation_steps=plan.accumulation,
        learning_rate=move.learning_rate,
        lr_scheduler_type=move.schedule,
        warmup_steps=move.warmup,
        weight_decay=move.weight_decay,
        max_grad_norm=move.gradient_norm,
        seed=move.seed,
        data_seed=move.seed,
        bf16=plan.dtype == "bfloat16",
        fp16=plan.dtype == "float16",
        use_cpu=machine.kind == "cpu",
        activation_checkpointing=plan.checkpointing,
        max_length=recipe.length.tokens,
        packing=plan.packing,
        packing_strategy="bfd",
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=watch.every,
        save_strategy="steps",
        save_steps=watch.checkpoint,
        dataloader_pin_memory=machine.kind == "cuda",
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False if machine.processes > 1 else None,
    )


def _collator(plan: Plan, pad: int) -> Any:
    """None leaves packs to trl, which owns their layout."""
    if plan.packing:
        return None
    return Shared() if plan.sharing else Padded(pad)


def _dataset(rows: Sequence[Encoded], tokens: int, packing: bool) -> Any:
    from datasets import Dataset, disable_progress_bars
    from trl import pack_dataset

    disable_progress_bars()
    columns = {"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]}
    dataset = Dataset.from_dict(columns)
    return pack_dataset(dataset, tokens, "bfd") if packing else dataset


def _trainer_class(label_ids: Sequence[int], label_weight: float) -> Any:
    """SFTTrainer with this project's row order, and its loss: the weighted mean over supervised tokens."""
    import torch
    from trl import SFTTrainer

    class OwnTrainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            weights = token_weights(inputs["labels"], label_ids, label_weight)
            self._count(inputs)
            direct = self.args.device.type == "cpu" and self.accelerator.num_processes == 1
            surprise = supervised_loss if direct else fused_loss
            total = weights.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
            loss = (surprise(model, inputs) * weights[weights > 0]).sum() / total.clamp(min=1)
            spread = self.args.average_tokens_across_devices and num_items_in_batch is not None
            return loss * self.accelerator.num_processes if spread else loss

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
            total = sum(
                token_weights(batch["labels"], label_ids, label_weight).sum() for batch in batch_samples
            )
            total = torch.as_tensor(total).to(device)
            return self.accelerator.gather(total).sum() if self.args.world_size > 1 else total

        def _get_train_sampler(self, train_dataset: Any = None) -> GroupedOrder:
            lengths = [len(row) for row in (train_dataset or self.train_dataset)["input_ids"]]
            return GroupedOrder(lengths, self.args.per_device_train_batch_size, self.args.seed)

        def _count(self, inputs: Any) -> None:
            if self.model.training:
                mask = inputs.get("attention_mask")
                tokens = mask.sum() if mask is not None and mask.dim() == 2 else inputs["input_ids"].numel()
                local = torch.as_tensor(tokens, device=inputs["input_ids"].device)
                self._total_train_tokens += int(self.accelerator.gather_for_metrics(local).sum())
            self._metrics["train" if self.model.training else "eval"]["num_tokens"] = [
                self._total_train_tokens
            ]

    return OwnTrainer


def fused_loss(model: Any, inputs: Any) -> Any:
    """Each supervised token's negative log-likelihood, by trl's tiled output layer."""
    outputs = model(**inputs, use_cache=False, fused_lm_head=True)
    return -outputs.log_probs[outputs.label_mask]


def supervised_loss(model: Any, inputs: Any) -> Any:
    """The same, with the output layer computed at the supervised positions only.

    Off the GPU trl computes it everywhere, which costs as much as a small base itself. It goes past the
    distributed wrapper, so it is for one process alone.
    """
    from torch.nn.functional import cross_entropy

    base = model.get_base_model()
    labels = inputs["labels"][:, 1:]
    mask = labels != IGNORED
    rest = {name: value for name, value in inputs.items() if name != "labels"}
    hidden = base.base_model(**rest, use_cache=False).last_hidden_state[:, :-1]
    return cross_entropy(base.get_output_embeddings()(hidden[mask]).float(), labels[mask], reduction="none")


def token_weights(labels: Any, label_ids: Sequence[int], label_weight: float) -> Any:
    """Weights of the shifted labels (batch × length - 1): 0 where masked, `label_weight` on a severity label.

    A severity label is a label token that opens an answer: the token before it is not supervised.
    """
    import torch

    targets, before = labels[:, 1:], labels[:, :-1]
    opens = (before == IGNORED) & torch.isin(targets, torch.tensor(list(label_ids), device=labels.device))
    weights = (targets != IGNORED).float()
    return torch.where(opens, weights * label_weight, weights)
