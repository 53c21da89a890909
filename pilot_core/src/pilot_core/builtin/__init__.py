"""The default plugins and drivers, found like anybody's."""
