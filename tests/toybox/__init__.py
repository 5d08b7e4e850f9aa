"""The program as people run it: processes, command lines, what they print."""
