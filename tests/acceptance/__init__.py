"""A few sentences of the product, each told on the whole system below HTTP: real Postgres, followers, a worker."""
