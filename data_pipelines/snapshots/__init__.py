"""Versions of document tables: Apache Iceberg snapshots, with the lineage of every row."""
