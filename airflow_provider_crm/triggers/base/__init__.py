"""What the triggers of all CRMs share: polling, watching, the hooks of a triggerer."""
