"""`python -m streams.cli`: how workers are started where the script is not on the path."""

from streams.cli.app import main

main()
