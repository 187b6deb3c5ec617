"""Procedural parts and defects: scenes with exact masks, to teach and to try out."""

from models.rendering.scene import DEFECT_TYPES, SURFACES, Scene, render
from models.rendering.sketch import sketched
from models.rendering.stage import Guide

__all__ = ["DEFECT_TYPES", "SURFACES", "Guide", "Scene", "render", "sketched"]
