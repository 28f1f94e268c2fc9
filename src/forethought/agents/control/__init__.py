"""Agents that decide by searching their model."""
