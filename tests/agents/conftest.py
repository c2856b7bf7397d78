"""What the tests of campaigns share."""

from reporting.pages_once import _pages_are_prepared_once  # noqa: F401
