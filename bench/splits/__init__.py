"""Which real image may teach, choose or judge: one JSON file a set, written by `python -m bench.splits`.

A group (board, spindle position, tile, photo) lies in one split, whatever the types of its images; thirds are
balanced per type, good images included. docs/decisions/0011-splits.md says what a group is and why.
"""
