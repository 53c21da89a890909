"""The record of a job as one HTML page: what is known of it is gathered, drawn and written."""
