"""Stand-ins for what a test cannot have: the hub, a process that takes memory of a known size."""
