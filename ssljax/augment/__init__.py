"""Example to views on the device; pure functions of one example and its key."""
