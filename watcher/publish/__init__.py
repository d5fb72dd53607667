"""Publishing: what of a run's folder goes into the repository, small, without names, and able to be judged again."""
