"""What a replica used of the machine, and what machine it is."""
