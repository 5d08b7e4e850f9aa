"""Parts of the overspending campaign: the plan, the provider that lies, the processes that are killed, the judge."""
