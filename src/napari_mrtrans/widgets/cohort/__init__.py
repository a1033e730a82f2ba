"""The dock that transforms many scans, one after the other, and lists what came of each."""
