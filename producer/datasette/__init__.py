"""The source: asks a Datasette site for one response and judges what it sends, row by row."""

from producer.datasette.client import DatasetteSource

__all__ = ["DatasetteSource"]
