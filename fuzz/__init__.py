"""What strangers' bytes reach first, fed with bytes that no one has thought of."""
