"""amqpfire: checks and sends a message to a service, and waits for the answer if asked."""
