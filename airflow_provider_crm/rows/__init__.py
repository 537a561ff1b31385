"""How rows enter and leave a task. Knows no CRM."""
