"""PostgreSQL: one function call a batch, ids in order of commit, readings in partitions."""
