"""The classic active and inactive lists, where MGLRU is off."""
