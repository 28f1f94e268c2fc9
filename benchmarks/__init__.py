"""Measurements of forethought: how fast it runs (`speed`), how well it learns (`learning`), and their tables."""
