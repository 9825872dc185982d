"""The embedded backend: works on a laptop with nothing but `pip install`."""
