"""What the tests of readers share."""

from tests.corpora.here import here

__all__ = ["here"]
