"""ExpertSender CDP's records: written, exported."""
