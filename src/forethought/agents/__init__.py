"""What is decided: agents by the use they make of a model."""
