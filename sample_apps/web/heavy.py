"""A module that takes 1.5 s to import, as a large library does on a cold machine: `DEFECT=slow-imports` imports it."""

from __future__ import annotations

import time

time.sleep(1.5)
