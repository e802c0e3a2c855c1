"""What the operations share: choice of device, dtypes, launches."""
