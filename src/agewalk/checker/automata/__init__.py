"""Threads as automata: unfolding generators, the values they meet, what each effect means, lifetimes, minimisation."""
