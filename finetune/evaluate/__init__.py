"""Evaluation: what models and reviewers get right, with intervals; a file or folder per task."""
