"""`--kernels`: the flag, and the check of the kernels before a run trains with them."""
