"""Writers of valid files of every format, for tests, demo and benchmarks."""
