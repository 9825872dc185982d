"""How people and git meet the project: the `terazi` command line and the review page."""
