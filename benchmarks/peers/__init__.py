"""Other libraries on the same workloads, each in a virtual environment of its own."""
