"""Backends: every way to find issues in a change and to rate them (the ports are in `service.ports`)."""
