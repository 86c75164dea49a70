"""The way to the platform: one request, one deadline, one typed answer."""
