"""One module per command of the command line: `add_arguments`, `run`, and `EXAMPLES` for its help."""
