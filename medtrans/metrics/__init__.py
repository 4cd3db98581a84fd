"""Image quality, 2D and 3D, with and without mask."""
