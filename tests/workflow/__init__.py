"""The controller in memory: its store, its runner and its workflows, without a network."""
