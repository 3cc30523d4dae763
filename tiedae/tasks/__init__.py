"""What the exported program is for: one module per kind of task, one row each in `table.TASKS`."""
