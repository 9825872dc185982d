"""The severity model: labelled rows -> encoder, LoRA adapter, ordinal head -> the embedded rater's ONNX."""
