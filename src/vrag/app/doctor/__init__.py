"""What this machine has, and whether it is what vrag needs: `vrag doctor`."""
