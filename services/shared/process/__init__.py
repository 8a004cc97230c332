"""What a process needs: settings, a gRPC server, channels, interceptors, a connection to Temporal."""
