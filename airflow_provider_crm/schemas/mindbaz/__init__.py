"""Mindbaz' records: written, exported."""
