"""What soaks have left in clusters, read from wherever it is. All of it is untrusted: anybody may have written it."""
