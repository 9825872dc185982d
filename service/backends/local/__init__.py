"""The language model in this process: transformers with a LoRA adapter of PEFT."""
