"""Data sets in earnest: built on real photos by real workers, undisturbed and under faults, and judged outside."""
