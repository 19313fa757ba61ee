"""What families of methods share: heads, teachers, codes, masks; pure functions of arrays."""
