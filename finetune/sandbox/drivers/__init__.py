"""Programs that run inside a cell: the side that holds the generated code, and the side that examines it."""
