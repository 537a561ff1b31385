"""Waiting for a state in a CRM."""
