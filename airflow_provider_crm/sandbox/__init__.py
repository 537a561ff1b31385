"""A local stand-in for SPREAD, Mindbaz and ExpertSender CDP: real HTTP on one port, with state and injectable faults.

Written from the vendors' pages alone; imports nothing from the rest of the package, so that a misreading of a page
cannot be shared by the client and its stand-in.
"""
