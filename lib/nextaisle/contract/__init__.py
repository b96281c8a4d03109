"""What the stages agree on: tables, tokens and errors. Imports nothing else of nextaisle."""
