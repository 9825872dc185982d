"""LoRA training of the language model, from rows to an adapter. The recipes are in `finetune.recipes`."""
