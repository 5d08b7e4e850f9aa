"""What the campaigns are made of: writer and reader processes, journals, the cutting proxy, the verdict."""
