"""Several budgets, pairwise terms, peaks and ties of one side: the search of the duality gap."""
