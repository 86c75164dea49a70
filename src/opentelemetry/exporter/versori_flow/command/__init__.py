"""The command `versori-flow`."""
