"""One file a family of named, weighted loss terms."""
