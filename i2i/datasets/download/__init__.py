"""Well-known public sets onto the disk: downloaded over bad networks, verified, and unpacked with caution."""

from i2i.datasets.download.public import PublicSet, obtain, public_set, public_sets
from i2i.datasets.download.transfer import Watch, open_client

__all__ = ["PublicSet", "Watch", "obtain", "open_client", "public_set", "public_sets"]
