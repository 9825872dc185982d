"""What everything speaks of: the severity scale, domain types, diffs, prompts, datasets, feedback rows.

The lowest layer: imports nothing of the project outside itself, does no network and starts no process.
"""
