"""Code generation: benchmarks, generation, execution in the sandbox, scores and comparisons."""
