"""The demo: the main job on real input, shown step by step."""
