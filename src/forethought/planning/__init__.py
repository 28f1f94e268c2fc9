"""Planning at decision time: what to do now, by looking ahead in a world model."""
