"""One search over people and over all ids, for the search box on every page of the Control Center."""
