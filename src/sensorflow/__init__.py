"""SensorFlow Server: what was acknowledged is never lost, and on every screen in milliseconds."""

__version__ = "0.1.0"
