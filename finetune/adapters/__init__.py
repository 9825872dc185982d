"""The registry of trained adapters: manifests, comparisons, promotion, merging. Training is in `finetune.llm`."""
