"""The run: loop, checkpoints, records on disk, and what a person sees meanwhile."""
