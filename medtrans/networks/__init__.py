"""One file an architecture, `spatial_dims` 2 or 3."""
