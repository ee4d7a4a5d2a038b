"""The chaos proof: the whole system under faults, and the count of what was lost or doubled."""
