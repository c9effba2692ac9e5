"""Tests of the sans-IO protocol layer: no loop, no clock, no fakes needed."""
