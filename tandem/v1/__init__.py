"""The gRPC contract of protos/tandem/v1: messages, stubs and their types. `make protos` generates the other files."""
