"""Where reviews, findings, verdicts and access tokens are kept: SQLite or PostgreSQL through SQLAlchemy."""
