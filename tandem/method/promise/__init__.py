"""When a cheap model's answer may be served: what live traffic has shown."""
