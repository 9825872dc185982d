"""One file per command; each handler builds its inputs, calls the layer below and returns an exit code."""
