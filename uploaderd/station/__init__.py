"""Stations: SSH, the agent protocol, discovery and the transfer engine."""
