"""Parts of the DAG campaign: the plan, the processes that are killed, whoever decides and pays, the judge."""
