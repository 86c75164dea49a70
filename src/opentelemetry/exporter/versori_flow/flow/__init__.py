"""Everything that is decided about a flow: pure, without I/O, threads, clocks or locks."""
