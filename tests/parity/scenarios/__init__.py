"""The scenarios, by topic of the specification's first part."""
