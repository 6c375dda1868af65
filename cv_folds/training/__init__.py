"""Training one backbone on one fold."""
