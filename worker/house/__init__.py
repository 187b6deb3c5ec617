"""The house worker: keeps order, and needs no models. It runs also while every compute worker is dead."""
