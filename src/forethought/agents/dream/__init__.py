"""Policies that are learned, or evolved, within a model of the world."""
