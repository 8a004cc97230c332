"""The answer checker's process: it runs checks of answers, and with them code that a model wrote."""
