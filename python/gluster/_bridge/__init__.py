"""What both historical APIs are made of."""

from .layer import Layer, adapt

__all__ = ["Layer", "adapt"]
