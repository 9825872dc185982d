"""Whole reviews against labelled merge requests: what is found, missed and made up."""
