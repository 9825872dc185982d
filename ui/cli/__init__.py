"""The `terazi` command line: parses, dispatches, prints; the work is done in the layers below."""
