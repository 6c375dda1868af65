"""Readers, the demo set and the decoded cache."""
