"""Moves of one layer, or of tied ones, and what heuristics make of them."""
