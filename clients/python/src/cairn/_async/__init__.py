"""The client, one half of which is generated from the other."""
