"""What a user would pick instead: the same one-hop job, written as each project's own examples do it."""
