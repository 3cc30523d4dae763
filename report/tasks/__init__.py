"""How the results of tasks are shown: one module per kind of task, one row each in `table.TASK_VIEWS`."""
