"""From a committed batch to every subscriber."""
