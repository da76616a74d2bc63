"""Speed, measured: each figure as a ratio taken in one run, with the command that reproduces it. Not part of the tests."""
