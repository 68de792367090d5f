"""The formats that records come and go in, one file for each; what a format needs is imported in its own room."""
