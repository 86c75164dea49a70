"""How much hypothesis tries, in every room.

On a busy machine any example may take some time. With `HYPOTHESIS_PROFILE=quick` every property test is short, and the
same each time: for mutation testing, and for the other Pythons.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_PATIENT = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}
settings.register_profile("full", **_PATIENT)
settings.register_profile(
    "quick", max_examples=15, stateful_step_count=30, derandomize=True, database=None, **_PATIENT
)
_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "full")
settings.load_profile(_PROFILE)

QUICK = _PROFILE == "quick"
