"""The test suite. One folder per room of the house, `e2e` for real processes, `support` for what they share."""
