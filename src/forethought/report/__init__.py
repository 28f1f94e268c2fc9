"""Turn run directories into figures, one HTML file and videos."""
