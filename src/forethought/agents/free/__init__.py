"""No model: baselines."""
