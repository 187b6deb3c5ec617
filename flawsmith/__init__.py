"""What a person installs and types: the contract, the client library and the `flawsmith` command."""
