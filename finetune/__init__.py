"""Teacher to adapter to score: labelled examples, LoRA training, evaluation, the adapter registry."""
