"""One budget and ties: the multiple-choice knapsack problem, and its front."""
