"""How many rows become few calls, and how each of them ends. Knows no CRM."""
