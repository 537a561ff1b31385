"""SPREAD's records: read, written, exported."""
