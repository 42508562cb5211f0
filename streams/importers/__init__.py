"""Readers that turn files councils already have into events and links."""
