"""The jobs of a run: put into a queue, followed through the hands of workers, and accounted for at the end."""

from harness.jobs.course import JobCourse, Names, names_of

__all__ = ["JobCourse", "Names", "names_of"]
