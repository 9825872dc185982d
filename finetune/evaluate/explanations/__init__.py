"""Explanations compared in pairs by a teacher model."""
