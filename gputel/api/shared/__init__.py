"""What the handlers share: parameters, filters, limits, documentation."""
