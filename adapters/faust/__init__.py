"""Faust: its consumer groups hand out partitions, and Postgres says where each goes on."""
