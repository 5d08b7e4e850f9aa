"""The loads that a measurement consists of, each in a process of its own."""
