"""Bring files of every kind to the product, as people do, and judge what comes out."""
