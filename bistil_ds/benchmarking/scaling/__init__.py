"""What phase 1 needs on many GPUs: computed, and checked on this machine."""
