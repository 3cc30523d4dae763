"""What every folder needs: errors, records, files, limits, keys, numbers and Markdown as text, arrays and archives in files."""
