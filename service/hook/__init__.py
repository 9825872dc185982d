"""The pre-push hook: installs itself, works out what is being pushed, reviews it, decides about the push."""
