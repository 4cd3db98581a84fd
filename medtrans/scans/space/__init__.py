"""Where planes lie in the patient, and the grid they make."""
