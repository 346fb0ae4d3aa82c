"""What the controller keeps: `state_dir/composia.db`."""
