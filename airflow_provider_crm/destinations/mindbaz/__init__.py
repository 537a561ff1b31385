"""How Mindbaz takes rows."""
