"""LoRA training of the language model: data to run folder to adapter. The recipes are in `finetune.recipes`."""
