"""The textbook integer program, and what can be proved beside a floating-point solver."""
