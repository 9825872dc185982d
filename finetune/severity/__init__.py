"""The severity model: teacher labels -> LoRA adapter, ordinal head -> the embedded rater's ONNX."""
