"""What the stream of readings comes to: followed once, written down, never on the way in."""
