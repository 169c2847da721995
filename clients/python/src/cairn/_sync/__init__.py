# Generated from ../_async/__init__.py by scripts/generate.py: do not edit.
"""The client, one half of which is generated from the other."""
