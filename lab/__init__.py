"""Private servers for tests, demo and benches: a broker, stations, a database."""
