"""The record of runs in a SQL database: written by tasks, read by whoever looks back. No personal data is in it.

:mod:`.store` opens and writes it, :mod:`.reading` reads it, :mod:`.runs` says what is read.
"""
