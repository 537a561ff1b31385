"""How one CRM takes a batch of rows."""
