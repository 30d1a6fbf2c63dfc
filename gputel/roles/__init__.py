"""What a process can be: the roles, what each needs, and how it starts."""
