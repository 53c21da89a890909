"""The controllers: what each command of the machine means in the world outside."""
