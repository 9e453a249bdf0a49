"""Reports: they show what the checks found and compute nothing new."""
