"""Settings: declared once as attrs fields, read from ranked layers, each value with its origin."""
