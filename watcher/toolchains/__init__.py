"""The compilers and runtimes that the lab and the client programs are built with: found on the machine, or fetched."""
