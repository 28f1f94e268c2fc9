"""Networks and the distributions they put out."""
