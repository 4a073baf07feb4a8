"""The fault programme: a deployment under load, a fault, and books that must add up after it."""
