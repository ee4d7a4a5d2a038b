"""The broker runtime: consuming, publishing, retries and dead letters."""
