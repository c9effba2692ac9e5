"""What the tests share: paths, downloads that are cached, real processes. Holds no tests and knows no room's inside."""
