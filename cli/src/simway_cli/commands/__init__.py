"""The sub-commands: each module adds its own to the parser, asks the API and shows what it answers."""
