"""Findings in: other tools' reports (SARIF, rdjson, Code Quality, comments) become issues to be rated."""
