"""The services: what is done with a message."""
