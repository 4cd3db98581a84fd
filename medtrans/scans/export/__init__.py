"""What lies in an export: files of any name, archives, and what their headers say."""
