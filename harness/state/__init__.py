"""What the harness itself asks of the app's state: journeys, handed over or not, and what every replica says at the end."""

from harness.state.course import StateCourse

__all__ = ["StateCourse"]
