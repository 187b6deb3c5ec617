"""Data sets as their consumers read them: pure functions of rows, a module a format."""
