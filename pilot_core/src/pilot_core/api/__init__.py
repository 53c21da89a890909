"""Parts of a pilot for programs that want no whole one: plain functions, and each that waits also as a coroutine."""
