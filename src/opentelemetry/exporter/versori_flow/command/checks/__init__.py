"""What `versori-flow doctor` looks at: each module looks at one thing, and returns what it found."""
