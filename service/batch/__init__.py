"""Many merge requests reviewed in one go: what is given, how it is spread, what is kept."""
