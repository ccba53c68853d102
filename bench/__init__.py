"""Benchmarks of quality, speed and load on real footage.

They run from the checkout (``pip install -e '.[bench]'``) and are not part of the installed
package. ``docs/reference/measures.md`` says what each column means.
"""
