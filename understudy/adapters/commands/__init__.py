"""What the command line can do, one module per group. `understudy/adapters/cli.py` puts them together."""
