"""What every process shares: settings, errors, server, telemetry, profiles, prompts and the request log in Redis."""
