"""The load: what users do to the target meanwhile, driven by Locust in a child process."""
