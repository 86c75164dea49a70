"""The page: flows, their traces and what calls what, for a browser."""
