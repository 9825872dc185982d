"""The HTTP service: reviews in the background, verdicts, metrics. `docs/api.md` describes it to its users."""
