from tests.support.chromium import chromium

__all__ = ["chromium"]
