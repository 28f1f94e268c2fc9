"""The model as a source of data."""
