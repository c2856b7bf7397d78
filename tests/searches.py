"""How many random examples a test tries: enough to see what has just been broken, or a search of its own."""

import os

# .ci/long sets it: fresh seeds (see conftest.py), and as many examples as find what nobody has seen yet.
SEARCHES = os.environ.get("MML_HYPOTHESIS") == "explore"


def many(quick, search):
    """Return the number of examples: of `make test`, where they are the same every time, or of a search."""
    return search if SEARCHES else quick
