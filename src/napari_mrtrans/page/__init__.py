"""Pages that hold all they show: text, tables and pictures in one HTML file."""
