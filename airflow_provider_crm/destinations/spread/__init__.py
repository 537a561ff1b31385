"""How SPREAD takes rows."""
