"""How functions are compiled, and the types that they take. Nothing here knows what they do."""
