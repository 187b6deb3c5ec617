"""Rendered logical anomalies, after MVTec LOCO: lines with rules, and the truth of what breaks them."""
