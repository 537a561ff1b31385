"""What the records of a CRM look like: typed, validated, the vendor's quirks normalised."""
