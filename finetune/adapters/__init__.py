"""The registry of trained adapters: manifests, comparisons, promotion, merging."""
