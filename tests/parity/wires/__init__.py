"""The scenarios over real servers, by topic."""
