"""The comparison of bundles under equal data, order, seeds and budget, as the papers' tables and figures."""
