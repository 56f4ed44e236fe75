"""What ranges grids cover: observing values, and clipping rules."""
