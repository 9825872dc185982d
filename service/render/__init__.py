"""Reviews out: terminal, Markdown, JSON, SARIF, GitLab Code Quality, reviewdog."""
