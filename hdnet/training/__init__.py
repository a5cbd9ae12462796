"""Three training stages on one engine."""
