"""The health monitor: names in plain words what goes wrong in a run, with the numbers that show it."""

from i2i.watch.health.monitor import Health

__all__ = ["Health"]
