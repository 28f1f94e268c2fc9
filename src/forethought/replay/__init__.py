"""What was lived through, kept on the device."""
