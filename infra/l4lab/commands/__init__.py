"""The commands, a module for each kind; a module is read when one of its commands is asked for."""
