"""A complete run in stages: train, read, mine, score, problem, solve, verify, draw.

Every stage writes files into the run folder and is skipped when they are there already, made from
the same inputs; long stages resume inside. `stages.py` lists them.
"""
