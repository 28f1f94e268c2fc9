"""What is believed of the world: models that can be stepped in imagination."""
