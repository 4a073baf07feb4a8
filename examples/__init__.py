"""Programs to learn from; `make demo` runs the market."""
