"""What is asked of an adaptation, what it tells, and the folder it happens in; read without torch."""
