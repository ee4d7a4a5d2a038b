"""The four services, each called with bare jobs."""
