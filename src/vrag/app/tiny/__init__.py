"""vrag-tiny: trained from nothing, measured, and written up by one command."""
