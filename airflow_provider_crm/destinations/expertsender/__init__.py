"""How ExpertSender CDP takes rows."""
