"""Results to files, and files of other programs."""
