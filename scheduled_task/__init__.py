"""The service that trains: due slots become runs, and each run a process of its own."""
