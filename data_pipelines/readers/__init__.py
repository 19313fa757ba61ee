"""Raw data of every kind as one stream of records: one file a format, chosen by content."""
