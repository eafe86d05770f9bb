"""From a device's bytes to a commit and a receipt."""
