"""Where corpora come from: readers of published data sets' own files."""
