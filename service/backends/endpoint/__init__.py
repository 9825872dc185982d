"""The language model behind an OpenAI-compatible server such as vLLM with LoRA adapters."""
