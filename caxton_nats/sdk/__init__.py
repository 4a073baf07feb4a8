"""What agent authors use: `Agent` and the context that its handlers get."""
