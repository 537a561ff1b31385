"""Notifiers: what is told to people when a task or a DAG run has ended."""
