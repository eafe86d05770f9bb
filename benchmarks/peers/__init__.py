"""What the program is measured beside."""
