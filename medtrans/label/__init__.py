"""MONAI Label: bundles as models of a server, studies translated and trained on from a viewer."""
