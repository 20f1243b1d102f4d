"""Checks of what is installed and stored."""
