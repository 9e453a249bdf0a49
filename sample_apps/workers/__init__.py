"""Workers, one file a queue: each takes jobs as the documentation of its queue recommends, and ``DEFECT=`` plants what is often wrong."""
